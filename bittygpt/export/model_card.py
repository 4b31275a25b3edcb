"""README.md of an exported model: what it is, how it was made, how to load it."""

from collections.abc import Iterable
from typing import Any

from bittygpt.core import TransformerLM


def model_card(
    name: str,
    model: TransformerLM,
    state: dict[str, Any],
    events: Iterable[dict[str, Any]],
    sources: Iterable[str],
    config_yaml: str,
    has_tokenizer: bool,
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
    tokenizer_line = (
        'tokenizer = AutoTokenizer.from_pretrained("PATH")\n'
        'inputs = tokenizer("Once upon a time", return_tensors="pt")\n'
        "print(tokenizer.decode(model.generate(**inputs)[0]))"
        if has_tokenizer
        else "# no other program can produce this model's token ids: encode with bittygpt's vocab.json"
    )
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# {name}

A GPT trained with bittygpt.

{chr(10).join(facts)}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("PATH")
{tokenizer_line}
```

A document starts and ends with `<|endoftext|>`. The config of the run:

```yaml
{config_yaml.strip()}
```
"""
