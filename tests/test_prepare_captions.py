"""Caption scores are CLIP's: of the right frames, whatever their size, from safetensors alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from home_videos import shot
from PIL import Image
from tiny_clip import SIDE, tiny_clip
from transformers import AutoTokenizer, CLIPModel

from artv_cli.errors import ArtvError, ModelError
from artv_cli.prepare.captions import SEEN, CaptionScorer, find_clip

FRAMES = shot("cat", "jump", "snow", 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def scorer(folder: Path) -> CaptionScorer:
    return CaptionScorer(find_clip(str(folder)), "cpu")


def test_the_score_is_the_cosine_that_transformers_computes(
    folder: Path, scorer: CaptionScorer
) -> None:
    """Pillow scales the frames here, so that the scaling is checked as well."""
    model, tokenizer = CLIPModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    seen = [FRAMES[index] for index in (0, 3, 6, 9)]
    small = [Image.fromarray(f).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for f in seen]
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pictures = (torch.from_numpy(np.stack(small)).float() / 255 - torch.tensor(mean)) / (
        torch.tensor(deviation)
    )
    with torch.inference_mode():
        tokens = tokenizer(["a cat walks"], return_tensors="pt")
        said = model(pixel_values=pictures.permute(0, 3, 1, 2), input_ids=tokens.input_ids)
    truth = (said.image_embeds @ said.text_embeds.T).mean().item()
    assert len(seen) == SEEN
    assert scorer.score(FRAMES, "a cat walks") == pytest.approx(truth, abs=1e-3)


def test_captions_and_frames_have_a_say(scorer: CaptionScorer) -> None:
    score = scorer.score(FRAMES, "a cat walks")
    assert score == scorer.score(FRAMES, "a cat walks")
    assert score != scorer.score(FRAMES, "the rocket flies")
    assert score != scorer.score(FRAMES[::-1][:1] * 10, "a cat walks")


def test_wide_pictures_are_cut_from_the_middle(scorer: CaptionScorer) -> None:
    small = shot("cat", "jump", "snow", 10, (SIDE, SIDE))  # so that nothing is scaled
    rim = np.full((SIDE, 8, 3), 255, np.uint8)
    wide = [np.concatenate([rim, frame, rim], axis=1) for frame in small]
    alone = scorer.score(small, "a cat")
    assert scorer.score(wide, "a cat") == pytest.approx(alone, abs=1e-5)
    lopsided = [np.concatenate([rim, rim, frame], axis=1) for frame in small]
    assert scorer.score(lopsided, "a cat") != pytest.approx(alone, abs=1e-3)


def test_long_captions_are_cut(scorer: CaptionScorer) -> None:
    assert -1 <= scorer.score(FRAMES, "a cat walks " * 200) <= 1


def test_the_fingerprint_is_that_of_the_weights_not_of_the_name(
    folder: Path, tmp_path: Path
) -> None:
    again, other = tiny_clip(tmp_path / "again"), tiny_clip(tmp_path / "other", seed=1)
    fingerprints = [find_clip(str(path)).fingerprint for path in (folder, again, other)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_other_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="holds a bert model, not a CLIP model"):
        find_clip(str(tmp_path))


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    tiny_clip(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError) as raised:
        find_clip(str(tmp_path))
    assert "may be a pickle" in raised.value.remedy


def test_missing_weights_are_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tiny_clip(tmp_path) / "model.safetensors"
    weights = load_file(path)
    del weights["text_projection.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"text_projection\.weight is missing"):
        CaptionScorer(find_clip(str(tmp_path)), "cpu")


@pytest.mark.parametrize("name", ["./nowhere", "clip"])
def test_a_name_that_is_no_folder_and_no_hub_id_is_told(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model"):
        find_clip(name)


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fetch(name: str, allow_patterns: list[str], **how: object) -> str:
        assert allow_patterns == ["model_index.json", "*.json", "*.txt", "*.model", "*.safetensors"]
        assert how == {"revision": None, "ignore_patterns": ["*.*.safetensors"]}
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    with pytest.raises(ModelError, match="could not be fetched from the hub: no route"):
        find_clip("openai/clip-vit-large-patch14")


def test_where_a_cards_memory_is_spent_another_device_is_named(
    scorer: CaptionScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(CaptionScorer, "_pictures", fail)
    with pytest.raises(ArtvError, match="no memory left: CUDA out of memory") as caught:
        scorer.score(FRAMES, "a cat")
    assert "--device cpu" in caught.value.remedy
