"""Pictures to latents and back, prompts to states."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from tiny import LATENT, SIZE, TEXT_WIDTH, TOKENS, noise, tiny_text, tiny_vae

from artv_cli.model.codec import Autoencoder, decode_latents, downsampling, encode_images


def tiny_taesd() -> AutoencoderTiny:
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
        scaling_factor=2.0,
    )


@pytest.fixture(params=[tiny_vae, tiny_taesd], ids=["AutoencoderKL", "AutoencoderTiny"])
def vae(request: pytest.FixtureRequest) -> Autoencoder:
    torch.manual_seed(0)
    return request.param().requires_grad_(False).eval()


IMAGES = noise(2, 3, *SIZE).clamp(-1, 1)


def test_shapes_follow_from_the_downsampling(vae: Autoencoder) -> None:
    latents = encode_images(vae, IMAGES)
    assert downsampling(vae) == SIZE[0] // LATENT[1]
    assert latents.shape == (2, *LATENT)
    assert decode_latents(vae, latents).shape == IMAGES.shape


def test_same_picture_has_the_same_latents(vae: Autoencoder) -> None:
    torch.manual_seed(1)
    first = encode_images(vae, IMAGES)
    torch.manual_seed(2)
    assert torch.equal(encode_images(vae, IMAGES), first)


def test_latents_are_codes_times_the_scaling_factor(vae: Autoencoder) -> None:
    scaled = encode_images(vae, IMAGES)
    factor = vae.config.scaling_factor
    vae.register_to_config(scaling_factor=1.0)
    torch.testing.assert_close(scaled, encode_images(vae, IMAGES) * factor)


def test_decoding_undoes_the_scaling(vae: Autoencoder) -> None:
    decoded = decode_latents(vae, encode_images(vae, IMAGES))
    vae.register_to_config(scaling_factor=1.0)
    torch.testing.assert_close(decoded, decode_latents(vae, encode_images(vae, IMAGES)))


def test_shift_is_taken_off_before_scaling_and_put_back_after() -> None:
    torch.manual_seed(0)
    vae = tiny_vae().requires_grad_(False).eval()
    assert isinstance(vae, AutoencoderKL)
    plain, picture = encode_images(vae, IMAGES), decode_latents(vae, encode_images(vae, IMAGES))
    vae.register_to_config(shift_factor=0.3)
    shifted = encode_images(vae, IMAGES)
    torch.testing.assert_close(shifted, plain - 0.3 * vae.config.scaling_factor)
    torch.testing.assert_close(decode_latents(vae, shifted), picture)


def test_decoded_pictures_are_clamped(vae: Autoencoder) -> None:
    pictures = decode_latents(vae, 1e3 * noise(1, *LATENT))
    assert pictures.min() >= -1 and pictures.max() <= 1


@pytest.fixture
def passed(vae: Autoencoder) -> list[int]:
    """The width of everything that passes through encoder and decoder, in the order it does."""
    widths: list[int] = []
    for network in (vae.encoder, vae.decoder):
        network.register_forward_hook(lambda _, told, __: widths.append(told[0].shape[-1]))
    return widths


def test_large_pictures_pass_in_tiles_and_come_out_as_they_would_whole(
    vae: Autoencoder, passed: list[int]
) -> None:
    """Also at the size that Stable Diffusion 2.1's autoencoder says it was trained at."""
    vae.register_to_config(sample_size=768)
    if isinstance(vae, AutoencoderKL):
        vae.tile_sample_min_size, vae.tile_latent_min_size = 768, 192  # as diffusers makes of it
    images = noise(1, 3, 768, 768).clamp(-1, 1)
    with torch.inference_mode():
        latents = encode_images(vae, images)
        assert len(passed) == 4 and max(passed) == 512
        passed.clear()
        pictures = decode_latents(vae, latents)
        assert len(passed) == 4 and max(passed) == 512 // downsampling(vae)
        vae.disable_tiling()
        whole = vae.decode(latents / vae.config.scaling_factor).sample.clamp(-1, 1)
    assert pictures.shape == images.shape
    assert (pictures - whole).abs().mean() < 0.1 * whole.std()  # each tile is normalised alone


def test_smaller_pictures_pass_whole_even_after_larger_ones(
    vae: Autoencoder, passed: list[int]
) -> None:
    before = encode_images(vae, IMAGES)
    vae.enable_tiling()
    assert torch.equal(encode_images(vae, IMAGES), before)
    assert passed == [SIZE[0]] * 2


def test_prompts_become_one_state_per_token_padded_and_cut() -> None:
    torch.manual_seed(0)
    text = tiny_text().requires_grad_(False).eval()
    states = text(["a cat walks", "", "the rocket flies " * 20])
    assert states.shape == (3, TOKENS, TEXT_WIDTH)
    torch.testing.assert_close(states[:1], text(["a cat walks"]))
    assert not torch.allclose(states[0], states[1])
