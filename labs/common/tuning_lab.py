"""What the specs of all tuning labs have in common. Imports no torch."""

from labs.contract import WHOLE_MODELS, Stage
from labs.formats import SUPERVISED

__all__ = ["TUNING_FORMATS", "WHOLE_MODELS", "tuning_stages"]

TUNING_FORMATS = SUPERVISED | {"text"}


def tuning_stages(package: str, attached: str, trained: str, deployed: str) -> tuple[Stage, ...]:
    """Setup, train, inference, deploy, as `package`.stages carries them out.

    Args:
        package: "labs.peft.ia3".
        attached: What setup does.
        trained: What training does.
        deployed: What deploy does and proves.
    """
    told = (
        ("setup", "Setup", attached),
        ("train", "Train", trained),
        (
            "inference",
            "Inference",
            "The same prompts through base and tuned model, side by side, with latency.",
        ),
        ("deploy", "Deploy", deployed),
    )
    return tuple(
        Stage(name, title, summary, f"{package}.stages:{name}") for name, title, summary in told
    )
