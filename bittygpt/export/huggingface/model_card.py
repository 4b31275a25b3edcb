"""README.md of an exported model: what it is, how it was made, how to load it."""

from collections.abc import Callable, Iterable
from typing import Any

from bittygpt.core import TransformerLM

NO_TOKENIZER = "# no other program can produce this model's token ids: encode with bittygpt's vocab.json\n"


def _hf_usage(has_tokenizer: bool) -> str:
    if not has_tokenizer:
        return f"""from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("PATH")
{NO_TOKENIZER}"""
    return """from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("PATH")
tokenizer = AutoTokenizer.from_pretrained("PATH")
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs)[0]))
"""


def _onnx_usage(has_tokenizer: bool) -> str:
    ids = """from tokenizers import Tokenizer
ids = Tokenizer.from_file("PATH/tokenizer.json").encode("Once upon a time").ids
"""
    return f"""import onnxruntime
{ids if has_tokenizer else NO_TOKENIZER + "ids = [0]" + chr(10)}\
session = onnxruntime.InferenceSession("PATH/onnx/model_plain.onnx")
logits = session.run(["logits"], {{"input_ids": [ids]}})[0]  # (1, length, vocabulary)
print(logits[0, -1].argmax())
"""


def _torch_usage(has_tokenizer: bool) -> str:
    note = "" if has_tokenizer else NO_TOKENIZER
    return f"""import torch
extra = {{"{"tokenizer.json" if has_tokenizer else "vocab.json"}": ""}}
program = torch.export.load("PATH/NAME.pt2", extra_files=extra).module()
{note}logits = program(torch.tensor([[0]]))  # (batch, length) -> (batch, length, vocabulary)
print(logits[0, -1].argmax().item())
"""


# the library that Hugging Face's hub offers for it, and lines that load it
USAGE: dict[str, tuple[str, Callable[[bool], str]]] = {
    "hf": ("transformers", _hf_usage),
    "onnx": ("onnx", _onnx_usage),
    "torch": ("pytorch", _torch_usage),
}


def model_card(
    name: str,
    model: TransformerLM,
    state: dict[str, Any],
    events: Iterable[dict[str, Any]],
    sources: Iterable[str],
    config_yaml: str,
    library: str,
    usage: str,
) -> str:
    """The card as Markdown; `state` is the checkpoint's, `events` are those of its run's `metrics.jsonl`."""
    step = state["step"]
    config = model.config
    evaluations = [e for e in events if e["event"] == "eval" and e["step"] <= step]
    facts = [
        f"- {model.num_parameters():,} parameters: {config.num_layers} layers, {config.d_model} wide, "
        f"{config.num_heads} heads, context {config.context_length:,}, vocabulary {config.vocab_size:,}",
        f"- trained on {', '.join(sources)}: {step:,} steps, {state['tokens']:,} tokens",
    ]
    if evaluations:
        last = evaluations[-1]
        losses = f"{last['val_loss']:.4f} nats per token, {last['val_bpb']:.4f} bits per byte"
        facts.append(f"- validation loss {losses} (at step {last['step']:,})")
    return f"""---
library_name: {library}
pipeline_tag: text-generation
---
# {name}

A GPT trained with bittygpt.

{chr(10).join(facts)}

```python
{usage.replace("NAME", name)}```

A document starts and ends with `<|endoftext|>`. The config of the run:

```yaml
{config_yaml.strip()}
```
"""
