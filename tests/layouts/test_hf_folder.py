"""Folders that transformers wrote become models here: the same logits, or every mismatch at once."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.errors import ConfigError
from bittygpt.layouts import hf_folder
from bittygpt.layouts.hf_folder import copy_weights, is_hf_folder
from bittygpt.tokenizer.tokenizer import Tokenizer

SHAPE = {
    "context_length": 48,
    "d_model": 32,
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "d_ff": 48,
    "rope_theta": 5000.0,
}


def own_tokenizer(folder, encoding="bpe"):
    return Tokenizer.load(folder / "tokenizer.json", None, encoding)


def own_model(tokenizer, **changes):
    return TransformerLM(ModelConfig(vocab_size=tokenizer.vocab_size, **(SHAPE | changes))).eval()


def read(folder, model, tokenizer):
    said = []
    copy_weights(folder, model, tokenizer, "train.init_from", said.append)
    return said


def logits_there(theirs, folder, ids):
    """Of transformers, sorted as our tokenizer has the tokens."""
    from bittygpt.tokenizer.tokenizer_json import vocabulary_of

    path = folder / "tokenizer.json"
    order = torch.tensor(vocabulary_of(json.loads(path.read_text()), path).ids_there)
    with torch.no_grad():
        return theirs(order[ids]).logits[..., order]


@pytest.mark.parametrize(
    ("kind", "changes", "ours"),
    [
        ("llama", {}, {}),
        ("llama", {"num_key_value_heads": 4}, {"num_kv_heads": None}),
        ("llama", {"tie_word_embeddings": True}, {"tie_embeddings": True}),
        ("llama", {"hidden_act": "gelu", "rms_norm_eps": 1e-6}, {"activation": "geglu", "norm_eps": 1e-6}),
        ("llama", {"vocab_size": 320}, {}),
        ("qwen3", {}, {"qk_norm": True}),
        (
            "qwen3",
            {"num_key_value_heads": 1, "tie_word_embeddings": True},
            {"qk_norm": True, "num_kv_heads": 1, "tie_embeddings": True},
        ),
    ],
    ids=["grouped", "plain", "tied", "geglu, another eps", "padded rows", "qwen3", "qwen3, multi-query, tied"],
)  # fmt: skip
def test_logits_are_those_of_transformers(tmp_path, save_folder, kind, changes, ours):
    theirs = save_folder(tmp_path, kind, **changes)
    tokenizer = own_tokenizer(tmp_path)
    model = own_model(tokenizer, **ours)
    said = read(tmp_path, model, tokenizer)
    assert len(said) == ("vocab_size" in changes)
    ids = torch.randint(0, tokenizer.vocab_size, (2, 48))
    expected = logits_there(theirs, tmp_path, ids)
    with torch.no_grad():
        assert (model(ids) - expected).abs().max() < 2e-4
    assert expected.std() > 0.5


def test_shards_and_bfloat16(tmp_path, save_folder):
    theirs = save_folder(tmp_path, dtype=torch.bfloat16, shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    tokenizer = own_tokenizer(tmp_path)
    model = own_model(tokenizer)
    assert read(tmp_path, model, tokenizer) == []
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    ids = torch.randint(0, tokenizer.vocab_size, (2, 48))
    with torch.no_grad():
        assert (model(ids) - logits_there(theirs, tmp_path, ids)).abs().max() < 2e-4
    first = next(tmp_path.glob("model-*.safetensors"))
    first.unlink()
    with pytest.raises(ConfigError, match=f"{first.name} is missing"):
        read(tmp_path, model, tokenizer)


def test_the_way_that_transformers_4_wrote_theta(tmp_path, save_folder, change_config):
    theirs = save_folder(tmp_path)
    change_config(tmp_path, rope_parameters=None, rope_theta=5000.0, head_dim=None, rope_scaling=None)
    tokenizer = own_tokenizer(tmp_path)
    model = own_model(tokenizer)
    read(tmp_path, model, tokenizer)
    ids = torch.randint(0, tokenizer.vocab_size, (1, 48))
    with torch.no_grad():
        assert (model(ids) - logits_there(theirs, tmp_path, ids)).abs().max() < 2e-4


def test_without_the_permutation_it_is_another_model(tmp_path, save_folder, monkeypatch):
    theirs = save_folder(tmp_path)
    monkeypatch.setattr(hf_folder, "pairs_first", lambda weight, _: weight)
    tokenizer = own_tokenizer(tmp_path)
    model = own_model(tokenizer)
    read(tmp_path, model, tokenizer)
    ids = torch.randint(0, tokenizer.vocab_size, (1, 48))
    with torch.no_grad():
        assert (model(ids) - logits_there(theirs, tmp_path, ids)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 64}, "hidden_size is 64 there, and model.d_model is 32 here"),
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps is 1e-06 there, and model.norm_eps is 1e-05 here"),
        ({"rms_norm_eps": None}, "rms_norm_eps is 1e-06 there"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, "rope_theta is 10000.0 there"),
        ({"rope_parameters": None}, "rope_theta is 10000.0 there"),
        ({"rope_theta": 1e4}, "rope_theta is 10000, but rope_parameters.rope_theta 5000"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e3}}, r"rope_parameters scales RoPE \(llama3\)"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, r"rope_scaling scales RoPE \(linear\)"),
        ({"attention_bias": True}, "attention_bias is True, and no model here has that"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True there, and model.tie_embeddings is False here"),
        ({"model_type": "gemma"}, "model_type is 'gemma', and llama and qwen3 alone can be read"),
        ({"model_type": "qwen3"}, "model_type is qwen3, with QK-norm, and model.qk_norm is false here"),
        ({"model_type": "qwen3", "head_dim": None}, r"head_dim is 128 \(it is missing\)"),
        ({"head_dim": 16}, "head_dim is 16, and here it is hidden_size / num_attention_heads, 8"),
        ({"num_key_value_heads": None}, "num_key_value_heads is 4 there, and model.num_kv_heads is 2 here"),
        ({"hidden_act": "relu2"}, "hidden_act is 'relu2', and of gates there are here silu, gelu, relu"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is"),
        ({"vocab_size": 290}, "vocab_size is 290, too few for token 294 of its own tokenizer"),
        ({"num_attention_heads": "four"}, "num_attention_heads is 'four'"),
        ({"layer_types": ["sliding_attention"]}, "layer_types has layers without full attention"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, save_folder, change_config, changes, message):
    save_folder(tmp_path)
    tokenizer = own_tokenizer(tmp_path)
    model = own_model(tokenizer)
    before = [p.clone() for p in model.parameters()]
    change_config(tmp_path, **changes)
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, model, tokenizer)
    assert all(a.equal(b) for a, b in zip(before, model.parameters(), strict=True))


def test_everything_that_does_not_fit_is_named_at_once(tmp_path, save_folder, change_config):
    save_folder(tmp_path)
    tokenizer = own_tokenizer(tmp_path)
    change_config(tmp_path, attention_bias=True, rope_scaling={"type": "yarn"}, rms_norm_eps=1e-6)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigError) as caught:
        read(
            tmp_path,
            own_model(tokenizer, num_layers=3),
            Tokenizer(tokenizer.vocabulary[:-1], tokenizer.special_tokens),
        )
    for words in (
        "attention_bias",
        "yarn",
        "rms_norm_eps",
        "num_hidden_layers is 2",
        "other tokens",
        "neither",
    ):
        assert words in str(caught.value)


def test_weights_too_few_too_many_and_of_other_shapes(tmp_path, save_folder):
    save_folder(tmp_path)
    tokenizer = own_tokenizer(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(32)
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
    weights["model.norm.weight"] = torch.zeros(16)
    weights["model.layers.1.mlp.up_proj.weight"] = weights["model.layers.1.mlp.up_proj.weight"].to(torch.int8)
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, own_model(tokenizer), tokenizer)
    for words in (
        "lm_head.weight is missing",
        "model.layers.0.self_attn.q_proj.bias has no place in this model",
        "model.norm.weight is (16,) there and (32,) here",
        "model.layers.1.mlp.up_proj.weight is stored as I8",
    ):
        assert words in str(caught.value)
    assert "inv_freq" not in str(caught.value)
    (tmp_path / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(ConfigError, match=r"model.safetensors cannot be read"):
        read(tmp_path, own_model(tokenizer), tokenizer)


def test_a_stored_head_of_a_tied_model_is_no_fault(tmp_path, save_folder):
    save_folder(tmp_path, tie_word_embeddings=True)
    weights = load_file(tmp_path / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    tokenizer = own_tokenizer(tmp_path)
    read(tmp_path, own_model(tokenizer, tie_embeddings=True), tokenizer)


def test_other_tokens_are_refused_with_the_remedy(tmp_path, save_folder):
    save_folder(tmp_path)
    right = own_tokenizer(tmp_path)
    other = Tokenizer([*right.vocabulary[:1], *right.vocabulary[2:]], right.special_tokens[:1])
    with pytest.raises(
        ConfigError, match=r'set tokenizer.vocab to .*tokenizer.json and tokenizer.special_tokens to \["<'
    ):
        read(tmp_path, own_model(other), other)
    bitty = own_tokenizer(tmp_path, "bitty")
    with pytest.raises(ConfigError, match=r"set tokenizer.encoding to bpe"):
        read(tmp_path, own_model(bitty), bitty)
    (tmp_path / "tokenizer.json").rename(tmp_path / "tokenizer.model")
    with pytest.raises(ConfigError, match="SentencePiece"):
        read(tmp_path, own_model(right), right)


def test_without_a_tokenizer_there_ids_mean_what_they_mean_here(tmp_path, save_folder):
    theirs = save_folder(tmp_path)
    tokenizer = own_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    model = own_model(tokenizer)
    assert "holds no tokenizer: its ids are taken" in read(tmp_path, model, tokenizer)[0]
    ids = torch.randint(0, tokenizer.vocab_size, (1, 48))
    with torch.no_grad():
        assert (model(ids) - theirs(ids).logits).abs().max() < 2e-4
    fewer = Tokenizer(tokenizer.vocabulary[:-1], tokenizer.special_tokens)
    with pytest.raises(ConfigError, match="vocab_size is 295 there, and the vocabulary here has 294 entries"):
        read(tmp_path, own_model(fewer), fewer)
    fewer.save(tmp_path / "vocab.json")  # as bittygpt exports a vocabulary that has no tokenizer.json
    with pytest.raises(ConfigError, match=r"trained on other tokens; set tokenizer.vocab to .*vocab.json"):
        read(tmp_path, own_model(tokenizer), tokenizer)
    tokenizer.save(tmp_path / "vocab.json")
    assert read(tmp_path, model, tokenizer) == []


def test_what_is_a_folder_of_theirs(tmp_path, save_folder):
    assert not is_hf_folder(tmp_path)
    save_folder(tmp_path)
    assert is_hf_folder(tmp_path)
    (tmp_path / "config.json").write_text("[")
    tokenizer = own_tokenizer(tmp_path)
    with pytest.raises(ConfigError, match=r"config.json is no JSON object"):
        read(tmp_path, own_model(tokenizer), tokenizer)
