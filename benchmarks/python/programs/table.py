"""The rows: what is run, with which arguments. `fwd`: inference; `step`: gradients and the optimizer's update.

A row names a function that FILE_mlx.py and FILE_torch.py have both. It builds the model and its inputs and returns
the Program that is timed. `dtype` is that of the weights and of all floating point inputs; float32 if it isn't given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Row:
    file: str
    function: str
    arguments: dict[str, Any]


ROWS: dict[str, Row] = {}
BF16 = "bfloat16"


def row(name: str, place: str, **arguments: Any) -> None:
    if name in ROWS:
        raise ValueError(f"[row] got {name!r} twice, expected a name for each row")
    file, function = place.split(".")
    ROWS[name] = Row(file, function, arguments)


row("resnet50 b1 224 fwd", "vision.resnet50_forward", batch=1, size=224)
row("resnet50 b4 224 fwd", "vision.resnet50_forward", batch=4, size=224)
row("resnet50 b4 224 fwd bf16", "vision.resnet50_forward", batch=4, size=224, dtype=BF16)
row("resnet50 b4 96 step", "vision.resnet50_step", batch=4, size=96)
row("resnet50 b4 96 step bf16", "vision.resnet50_step", batch=4, size=96, dtype=BF16)
row("mobilenet2 b1 224 fwd", "vision.mobilenet_forward", batch=1, size=224)
row("mobilenet2 b8 112 fwd", "vision.mobilenet_forward", batch=8, size=112)
row("mobilenet2 b8 112 fwd bf16", "vision.mobilenet_forward", batch=8, size=112, dtype=BF16)
row("mobilenet2 b8 96 step", "vision.mobilenet_step", batch=8, size=96)
row("convnext 3 blocks 96 b4 56 fwd", "vision.convnext_forward", batch=4, size=56)
row("convnext 3 blocks 96 b4 56 fwd bf16", "vision.convnext_forward", batch=4, size=56, dtype=BF16)
row("convnext 3 blocks 96 b2 28 step", "vision.convnext_step", batch=2, size=28)
row("images u8 b16 256 -> f32 normalised, flipped, cropped", "vision.prepare_images", batch=16)

row("unet c64 b2 64 fwd", "generative.unet_forward", batch=2, size=64)
row("unet c64 b2 64 fwd bf16", "generative.unet_forward", batch=2, size=64, dtype=BF16)
row("unet c64 b2 64 step", "generative.unet_step", batch=2, size=64)
row("unet c64 b2 64 step bf16", "generative.unet_step", batch=2, size=64, dtype=BF16)
row("dcgan generator b16 fwd", "generative.dcgan_forward", batch=16)
row("dcgan generator b16 fwd bf16", "generative.dcgan_forward", batch=16, dtype=BF16)
row("dcgan generator b16 step", "generative.dcgan_step", batch=16)
row("dcgan generator b16 step bf16", "generative.dcgan_step", batch=16, dtype=BF16)
row("vae mnist 784-400-20 b128 step", "generative.vae_step", batch=128)

row("vit-s 4 layers b8 fwd", "transformers.vit_forward", batch=8)
row("vit-s 4 layers b8 fwd bf16", "transformers.vit_forward", batch=8, dtype=BF16)
row("vit-s 4 layers b4 step", "transformers.vit_step", batch=4)
row("vit-s 4 layers b4 step bf16", "transformers.vit_step", batch=4, dtype=BF16)
row("gpt2 2 layers vocab 50257 b2 t256 fwd", "transformers.gpt2_forward", batch=2, length=256)
row("gpt2 2 layers vocab 50257 b1 t128 step", "transformers.gpt2_step", batch=1, length=128)
row("gpt2 2 layers vocab 50257 b1 t128 step bf16", "transformers.gpt2_step", batch=1, length=128, dtype=BF16)
row("llama 2 blocks d1024 t512 fwd", "transformers.llama_forward", length=512)
row("llama 2 blocks d1024 t512 fwd bf16", "transformers.llama_forward", length=512, dtype=BF16)
row("llama 2 blocks d1024 t1 fwd bf16", "transformers.llama_forward", length=1, dtype=BF16)
row("llama 2 blocks d1024 t256 step", "transformers.llama_step", length=256)
row("llama 2 blocks d1024 t256 step bf16", "transformers.llama_step", length=256, dtype=BF16)
row("nn.Transformer 2+2 d256 b8 t64 step", "transformers.transformer_step", batch=8, length=64)
row("nn.Transformer 2+2 d256 b8 t64 step bf16", "transformers.transformer_step", batch=8, length=64, dtype=BF16)
row("sdpa (1,8,4096,40) fwd", "transformers.attention", shape=(1, 8, 4096, 40))
row("sdpa (1,16,1024,128) causal fwd bf16", "transformers.attention", shape=(1, 16, 1024, 128), causal=True, dtype=BF16)

row("tcn 8 layers c64 t4096 b2 fwd", "sequences.tcn_forward", batch=2, length=4096)
row("tcn 8 layers c64 t4096 b2 step", "sequences.tcn_step", batch=2, length=4096)
row("tcn 8 layers c64 t4096 b2 step bf16", "sequences.tcn_step", batch=2, length=4096, dtype=BF16)
row("wav2vec convs 1 s b2 fwd", "sequences.wav2vec_forward", batch=2)
row("wav2vec convs 1 s b2 fwd bf16", "sequences.wav2vec_forward", batch=2, dtype=BF16)
row("wav2vec convs 1 s b2 step", "sequences.wav2vec_step", batch=2)
row("wav2vec convs 1 s b2 step bf16", "sequences.wav2vec_step", batch=2, dtype=BF16)
row("stft 10 s 1024/256 power mel", "sequences.mel_spectrogram", samples=160_000)
row("lm lstm 2x256 v10k b16 t32 fwd bf16", "sequences.lstm_forward", batch=16, length=32, dtype=BF16)
row("lm lstm 2x256 v10k b16 t32 step", "sequences.lstm_step", batch=16, length=32)
row("word2vec 10k x 128 b1024 neg 5 step", "sequences.word2vec_step", batch=1024, negative=5)
row("beam search step 4 x 50257", "sequences.beam_search", beams=4, vocabulary=50257)
row("top-p sampling 128k", "sequences.top_p_sampling", vocabulary=128_256)

row("gcn 10k nodes 100k edges step", "numerics.gcn_step", nodes=10_000, edges=100_000)
row("dlrm 8x20000x64 b2048 step", "numerics.dlrm_step", batch=2048)
row("pinn 4x64 b4096 step", "numerics.pinn_step", points=4096)
row("rk4 20 steps mlp 64 b32 step", "numerics.rk4_step", batch=32, steps=20)
row("policy mlp 64x64 b64 step", "numerics.policy_step", batch=64)
row("gp 800 nll grad", "numerics.gaussian_process", points=800)
row("kmeans 100k x 16, 50", "numerics.kmeans", points=100_000, clusters=50)
row("jacobian of mlp 64-64-64 (vmap vjp)", "numerics.jacobian", width=64)
row("per-sample grads mlp b128", "numerics.per_sample_gradients", batch=128)
