"""llama.cpp as an engine: its own parallel slots, in this process."""

from labs.common.artifacts import require_artifact
from labs.common.memory import peak_bytes
from labs.compression.serve.asked import Asked, EngineFailed, Finish, Piece, Tell
from labs.compression.serve.spec import ServeParams
from labs.contract import Json, LabContext, LabError
from labs.gguf.llama import Llama
from labs.models import read_facts
from labs.runspec import read_params


class LlamaEngine:
    """Asks llama.cpp in token ids, so that the prompt is the one that every other engine gets."""

    name = "llama_cpp"

    def __init__(self, llama: Llama) -> None:
        self._llama = llama

    def answer(self, asked: Asked, tell: Tell) -> None:
        """See `Engine.answer`."""
        tokens = 0

        def hear(said: Json) -> bool:
            nonlocal tokens
            choice = said["choices"][0]
            finish: Finish = choice["finish_reason"] or ""
            made = said.get("usage", {}).get("completion_tokens")
            tokens = int(made or said.get("timings", {}).get("predicted_n", tokens + 1))
            tell(Piece(choice["text"], tokens, finish))
            return asked.cancelled.is_set()

        try:
            self._llama.stream(_request(asked), hear)
        except LabError as error:
            raise EngineFailed(str(error)) from error

    def memory_bytes(self) -> int:
        """What the whole process took: llama.cpp computes in it."""
        return peak_bytes("cpu")

    def close(self) -> None:
        """See `Engine.close`."""
        self._llama.close()


def _request(asked: Asked) -> Json:
    """Greedy, or the nucleus and nothing else: llama.cpp's other samplers are switched off."""
    return {
        "prompt": list(asked.prompt),
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "samplers": ["top_p", "temperature"],
        "ignore_eos": asked.ignore_end,
        "stream": True,
        "stream_options": {"include_usage": True},
        "timings_per_token": True,
        # What an earlier request left must not make this one's times.
        "cache_prompt": False,
        **({} if asked.seed is None else {"seed": asked.seed & 0xFFFFFFFF}),
    }


def open_llama(params: ServeParams, run: LabContext) -> LlamaEngine:
    """Load the GGUF file that the stage export left."""
    folder = require_artifact(run, "gguf", "export")
    context = params.context(read_facts(run.base_model))
    threads = read_params(run.run_dir).threads
    return LlamaEngine(Llama(folder / "model.gguf", threads, context, params.slots))
