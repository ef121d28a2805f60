"""Token ids to text, one token at a time."""

from transformers import PreTrainedTokenizerBase

UNFINISHED = "\ufffd"


class Decoder:
    """Gives the text that each further token adds, once its characters are whole.

    A token may be part of a character, and some tokenizers write a token differently behind
    another one. So a few tokens before the new ones are decoded with them, and what these say by
    themselves is taken off (the scheme of Hugging Face's text-generation-inference).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._from = self._told = 0

    def put(self, token: int) -> str:
        """Take a token; gives new whole text, often none."""
        self._ids.append(token)
        before, after = self._texts()
        if len(after) <= len(before) or after.endswith(UNFINISHED):
            return ""
        self._from, self._told = self._told, len(self._ids)
        return after[len(before) :]

    def rest(self) -> str:
        """What stands unfinished at the end."""
        before, after = self._texts()
        return after[len(before) :]

    def _texts(self) -> tuple[str, str]:
        return self._text(self._ids[self._from : self._told]), self._text(self._ids[self._from :])

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))
