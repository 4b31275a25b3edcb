"""Exported folders through transformers itself, and mistakes planted to see the verification bite."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.errors import ExportError, UsageError
from bittygpt.export.huggingface.folder import DTYPES, check_layout, config_files, huggingface_weights
from bittygpt.export.huggingface.tokenizer import tokenizer_files
from bittygpt.export.huggingface.verify import verify_hf
from bittygpt.files import write_json
from bittygpt.layouts import huggingface
from bittygpt.tokenizer.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")
SAMPLE = {
    "temperature": 0.8,
    "top_k": None,
    "top_p": None,
    "min_p": None,
    "max_tokens": 20,
    "repetition_penalty": 1.0,
}
SHAPE = ModelConfig(vocab_size=320, context_length=64, d_model=64, num_layers=3, num_heads=4, d_ff=192)
VARIANTS = {
    "plain": {},
    "grouped": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "tied": {"tie_embeddings": True},
    "qk-norm": {"qk_norm": True},
    "qk-norm, grouped, tied": {"qk_norm": True, "num_kv_heads": 2, "tie_embeddings": True},
    "geglu, far theta": {"activation": "geglu", "rope_theta": 500_000.0},
    "reglu": {"activation": "reglu"},
}


def strong_model(**changes) -> TransformerLM:
    """Random, with logits of a size at which mistakes show."""
    torch.manual_seed(1)
    model = TransformerLM(ModelConfig(**{**vars(SHAPE), **changes}))
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data.normal_(1, 0.3)
        elif "layers" in name:
            p.data.mul_(2)
    return model.eval()


def write(folder, model, tokenizer, dtype="float32"):
    save_file(huggingface_weights(model, DTYPES[dtype]), folder / "model.safetensors", {"format": "pt"})
    files = config_files(model.config, 0, dtype, SAMPLE) | tokenizer_files(tokenizer, 64)
    for name, value in files.items():
        write_json(folder / name, value)


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | changes)


@pytest.mark.parametrize("name", VARIANTS)
def test_logits_are_equal_in_transformers(tmp_path, tokenizer, name):
    model = strong_model(**VARIANTS[name])
    write(tmp_path, model, tokenizer)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.randint(0, 320, (3, 64))
    with torch.no_grad():
        assert (model(ids) - loaded(ids).logits).abs().max() < 1e-4
    assert model(ids).std() > 0.5
    assert (
        loaded.model.embed_tokens.padding_idx is None
    )  # else fine-tuning would leave <|endoftext|> as it is
    assert loaded.config.model_type == ("qwen3" if "qk" in name else "llama")
    assert verify_hf(tmp_path, model, tokenizer, "float32").largest_difference < 1e-4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounded_weights_are_those_of_the_rounded_model(tmp_path, tokenizer, dtype):
    model = strong_model(qk_norm=True)
    write(tmp_path, model, tokenizer, dtype)
    assert {t.dtype for t in load_file(tmp_path / "model.safetensors").values()} == {DTYPES[dtype]}
    found = verify_hf(tmp_path, model, tokenizer, dtype)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.randint(0, 320, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # what is told is how far it is from the trained model, not from a rounded one
        assert found.largest_difference >= (model(ids) - loaded(ids).logits).abs().max() > 1e-4
    assert 1e-9 < found.kl_divergence < 1e-3
    with pytest.raises(ExportError, match="logits differ"):
        verify_hf(tmp_path, model, tokenizer, "float32")


def test_a_missing_permutation_is_caught(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(huggingface, "halves_first", lambda weight, _: weight)
    model = strong_model()
    write(tmp_path, model, tokenizer)
    with pytest.raises(ExportError, match="logits differ by"):
        verify_hf(tmp_path, model, tokenizer, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"rope_theta": 9e3, "rope_parameters": {"rope_type": "default", "rope_theta": 9e3}},
        {"rms_norm_eps": 1e-6},
        {"hidden_act": "gelu"},
    ],
)
def test_a_wrong_number_in_the_config_is_caught(tmp_path, tokenizer, wrong, dtype):
    model = strong_model()
    for p in model.token_embeddings.parameters():
        p.data.mul_(0.05)  # small activations, for which the epsilon counts
    write(tmp_path, model, tokenizer, dtype)
    verify_hf(tmp_path, model, tokenizer, dtype)
    change_config(tmp_path, **wrong)
    with pytest.raises(ExportError, match="logits differ by"):
        verify_hf(tmp_path, model, tokenizer, dtype)


def test_weights_that_rounding_changes_too_much_are_refused(tmp_path, tokenizer):
    model = strong_model()
    for p in model.lm_head.parameters():
        p.data.mul_(30)
    write(tmp_path, model, tokenizer, "bfloat16")
    with pytest.raises(
        ExportError, match=r"distributions differ by .* nats.* or bears no bfloat16: take float32"
    ):
        verify_hf(tmp_path, model, tokenizer, "bfloat16")


def test_missing_and_extra_weights_are_caught(tmp_path, tokenizer):
    model = strong_model()
    write(tmp_path, model, tokenizer)
    weights = load_file(tmp_path / "model.safetensors")
    head = weights.pop("lm_head.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExportError, match=r"missing_keys.*lm_head"):
        verify_hf(tmp_path, model, tokenizer, "float32")
    save_file(
        {**weights, "lm_head.weight": head, "extra": head.clone()},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ExportError, match=r"unexpected_keys.*extra"):
        verify_hf(tmp_path, model, tokenizer, "float32")


def test_another_tokenizer_is_caught(tmp_path, tokenizer):
    model = strong_model()
    write(tmp_path, model, tokenizer)
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    data["model"]["merges"] = data["model"]["merges"][5:]
    data["model"]["ignore_merges"] = False
    write_json(tmp_path / "tokenizer.json", data)
    with pytest.raises(ExportError, match="gives other ids"):
        verify_hf(tmp_path, model, tokenizer, "float32")


def test_another_end_of_text_is_caught(tmp_path, tokenizer):
    model = strong_model()
    write(tmp_path, model, tokenizer)
    prompt = [0, *tokenizer.encode("Once upon")]
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    generation["eos_token_id"] = int(model(torch.tensor([prompt]))[0, -1].argmax())
    write_json(tmp_path / "generation_config.json", generation)
    with pytest.raises(ExportError, match="ends after 1 tokens, not after 32"):
        verify_hf(tmp_path, model, tokenizer, "float32")


def test_other_greedy_text_is_caught(tmp_path, tokenizer):
    model = strong_model()
    write(tmp_path, model, tokenizer)
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    likeliest = int(model(torch.tensor([[0, *tokenizer.encode("Once upon")]]))[0, -1].argmax())
    write_json(tmp_path / "generation_config.json", generation | {"suppress_tokens": [likeliest]})
    with pytest.raises(ExportError, match=rf"greedy text differs at token 1: \d+ instead of {likeliest}$"):
        verify_hf(tmp_path, model, tokenizer, "float32")


def test_generation_config_leaves_nothing_to_transformers_own_defaults():
    drawn, greedy = (
        config_files(SHAPE, 0, "float32", SAMPLE | {"temperature": t})["generation_config.json"]
        for t in (0.8, 0)
    )
    assert (drawn["do_sample"], drawn["temperature"], drawn["top_k"]) == (True, 0.8, 0)  # 0: from all tokens
    assert greedy["do_sample"] is False
    assert not {"temperature", "top_k"} & set(greedy)


def test_logits_that_are_no_numbers_are_caught_wherever_they_are(tmp_path, tokenizer):
    model = strong_model()
    random_ids = torch.randint(0, 320, (2, 64), generator=torch.Generator().manual_seed(0))
    only_in_text = sorted(set(tokenizer.encode("Once upon a time")) - set(random_ids.flatten().tolist()))
    model.token_embeddings.weight.data[only_in_text[0]] = torch.nan
    write(tmp_path, model, tokenizer)
    with pytest.raises(ExportError, match="differ by nan"):
        verify_hf(tmp_path, model, tokenizer, "float32")


def test_special_tokens_that_occur_in_the_texts_are_no_mismatch(tmp_path):
    special = ["<|endoftext|>", "\n\n", "the"]
    vocabulary = [*(token.encode() for token in special), *(bytes([value]) for value in range(256))]
    tokenizer = Tokenizer(vocabulary, special)
    model = strong_model(vocab_size=tokenizer.vocab_size)
    write(tmp_path, model, tokenizer)
    assert verify_hf(tmp_path, model, tokenizer, "float32").texts_compared > 20


def test_sampling_as_generation_config_says_runs(tmp_path, tokenizer):
    model = strong_model()
    write(tmp_path, model, tokenizer)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = loaded.generate(torch.tensor([[0, 5]]), attention_mask=torch.ones(1, 2))
    assert 2 < ids.shape[1] <= 2 + SAMPLE["max_tokens"]


def test_a_long_context_is_no_mismatch(tmp_path, tokenizer):
    model = strong_model(context_length=2048)
    write(tmp_path, model, tokenizer)
    verify_hf(tmp_path, model, tokenizer, "float32")


def test_weights_beyond_float16_are_refused():
    model = strong_model()
    model.layers[1].ffn.w2.weight.data[0, 0] = -1e6
    with pytest.raises(UsageError, match=r"layers.1.ffn.w2.weight goes up to 1e\+06.*take bfloat16"):
        huggingface_weights(model, torch.float16)
    assert huggingface_weights(model, torch.bfloat16)


def test_garbage_is_caught(tmp_path, tokenizer):
    model = strong_model()
    write(tmp_path, model, tokenizer)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ExportError, match="transformers cannot load the export"):
        verify_hf(tmp_path, model, tokenizer, "float32")


@pytest.mark.parametrize("activation", ["gelu", "relu", "relu2"])
def test_layers_without_a_gate_have_no_layout(activation):
    with pytest.raises(UsageError, match=f"model.activation: {activation} is; models with swiglu"):
        check_layout(ModelConfig(**{**vars(SHAPE), "activation": activation}))
