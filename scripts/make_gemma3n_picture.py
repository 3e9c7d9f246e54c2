#!/usr/bin/env python3
"""A tiny Gemma 3n with pictures, gemma/testdata/goldens/gemma3n_picture.

transformers' Gemma3nForConditionalGeneration over timm's mobilenetv5_300m_enc whose
block list (model_args) is short and narrow: every kind of block that the published
tower has, two pictures of 64 x 64 seen as 2 x 2 soft tokens each. float32, CPU, one
thread. Each tensor is drawn from a NumPy PCG64 stream seeded with the CRC-32 of its name.

Run: python make_gemma3n_picture.py --out DIR [--side 64]
Made with torch 2.x (CPU), timm 1.0.31, transformers 5.23.0.
"""

import argparse
import json
import os
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from timm.layers import RmsNorm2d
from timm.models import mobilenetv5
from timm.models._efficientnet_builder import decode_arch_def
from transformers import Gemma3nAudioConfig, Gemma3nConfig, Gemma3nForConditionalGeneration, Gemma3nTextConfig, Gemma3nVisionConfig

NAME, WIDTH, OUTPUT = "gemma3n_picture", 40, 2
STAGES = [
    ["er_r1_k3_s2_e4_c8", "er_r1_k3_s1_e4_c8"],
    ["uir_r1_a3_k5_s2_e6_c16", "uir_r1_a5_k0_s1_e4_c16", "uir_r1_a3_k0_s1_e4_c16", "uir_r1_a0_k3_p5_s1_e2_c16"],
    ["uir_r1_a5_k5_s2_e6_c24", "uir_r1_a5_k0_s1_e4_c24", "uir_r1_a0_k0_s1_e1_c24", "mqa_r1_k3_h3_v2_s1_d16_c24",
     "uir_r1_a0_k0_s1_e2_c24", "mqa_r1_k3_h3_v2_s1_d16_c24", "uir_r1_a0_k0_s1_e2_c24"],
    ["uir_r1_a5_k5_s2_e6_c32", "mqa_r1_k3_h4_s1_d24_c32", "uir_r1_a0_k0_s1_e2_c32"],
]


def normal(name, shape, std=1.0, mean=0.0):
    x = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(tuple(shape)) * std + mean
    return torch.from_numpy(x.astype(np.float32))


@torch.no_grad()
def fill(model):
    seen = set()
    for name, t in model.state_dict(keep_vars=True).items():
        if t.data_ptr() in seen:  # tied
            continue
        seen.add(t.data_ptr())
        if name.endswith("layer_scale.gamma"):
            t.copy_(normal(name, t.shape, 0.5))
        elif t.ndim <= 1:
            base = 1.0 if t.numel() and float(t.float().mean()) > 0.5 else 0.0
            base -= 0.5 if name.endswith(("q_norm.weight", "k_norm.weight")) else 0.0
            t.copy_(normal(name, t.shape, 0.1, base))
        elif "embed" in name and name.endswith(("embed_tokens.weight", "embedding.weight")):
            t.copy_(normal(name, t.shape, t.shape[-1] ** -0.5))
        else:
            t.copy_(normal(name, t.shape, int(np.prod(t.shape[1:])) ** -0.5))


def enc(t):
    t = t.detach()
    if not t.dtype.is_floating_point:
        return {"dtype": "int64", "shape": list(t.shape), "data": t.flatten().tolist()}
    return {"dtype": "float32", "shape": list(t.shape), "data": [float(f"{v:.9g}") for v in t.flatten().tolist()]}


def build():
    blocks = decode_arch_def(STAGES)
    for b in sum(blocks, []):
        if b["noskip"] is False:
            b.pop("noskip")
    rope = {"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}, "full_attention": {"rope_type": "default", "rope_theta": 1000000.0}}
    text = Gemma3nTextConfig(
        vocab_size=160, hidden_size=32, intermediate_size=[48] * 4, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        max_position_embeddings=256, pad_token_id=0, bos_token_id=2, eos_token_id=1, sliding_window=8, vocab_size_per_layer_input=140,
        hidden_size_per_layer_input=8, altup_num_inputs=2, num_kv_shared_layers=2, laurel_rank=6, activation_sparsity_pattern=[0.9, 0.8, 0.0, 0.0],
        layer_types=["sliding_attention", "full_attention"] * 2, final_logit_softcapping=3.0, rope_parameters=rope)
    vision = Gemma3nVisionConfig(hidden_size=WIDTH, vocab_size=4, vocab_offset=141,
                                 model_args={"block_args": blocks, "stem_size": 8, "msfa_output_resolution": OUTPUT})
    audio = Gemma3nAudioConfig(input_feat_size=8, hidden_size=16, conf_attention_chunk_size=4, conf_attention_context_left=5,
                               conf_attention_context_right=0, conf_num_attention_heads=2, conf_num_hidden_layers=1, conf_conv_kernel_size=3,
                               conf_reduction_factor=2, sscp_conv_channel_size=(4, 4), vocab_size=4, vocab_offset=145)
    config = Gemma3nConfig(text_config=text, vision_config=vision, audio_config=audio, vision_soft_tokens_per_image=OUTPUT * OUTPUT,
                           boi_token_id=140, eoi_token_id=141, image_token_id=142, boa_token_id=143, eoa_token_id=145, audio_token_id=146)
    args = json.loads(json.dumps(config.vision_config.model_args))  # timm takes the blocks apart
    torch.manual_seed(0)
    model = Gemma3nForConditionalGeneration(config).float()
    config.vision_config.model_args = args
    tower = model.model.vision_tower.timm_model
    # timm's encoder is 2048 wide whatever it is asked for.
    tower.msfa = mobilenetv5.MobileNetV5MultiScaleFusionAdapter(
        in_chs=tower.msfa_in_chs, out_chs=WIDTH, output_resolution=OUTPUT, norm_layer=RmsNorm2d, act_layer=mobilenetv5._GELU)
    fill(model)
    model.set_attn_implementation("eager")
    return model.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--side", type=int, default=64)
    a = parser.parse_args()
    torch.set_num_threads(1)
    folder = os.path.join(a.out, NAME)
    os.makedirs(folder, exist_ok=True)
    model = build()
    saved = json.loads(json.dumps(model.config.vision_config.model_args))
    levels = np.random.Generator(np.random.PCG64(7)).integers(0, 9, (2, 3, a.side, a.side))
    levels = levels * np.linspace(0.2, 1, a.side)[None, None, :, None]  # darker above
    px = torch.from_numpy((np.round(levels) / 8).astype(np.float32))
    t = np.random.Generator(np.random.PCG64(8)).integers(3, 130, 20).tolist()
    x = torch.tensor([[2] + t[:4] + [140] + [142] * 4 + [141] + t[4:8] + [140] + [142] * 4 + [141] + t[8:14] + [143, 145] + t[14:16]])
    hard = torch.tensor([[141, 144]])
    with torch.no_grad():
        states = model.model.vision_tower(pixel_values=px, do_pooling=False, return_dict=True).last_hidden_state
        soft = model.model.get_image_features(px, return_dict=True).pooler_output
        own = model.model.embed_vision(input_ids=hard)
        logits = model(input_ids=x, pixel_values=px, use_cache=False).logits
        tokens = model.generate(input_ids=x, pixel_values=px, max_new_tokens=8, min_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
    runs = [
        {"name": "forward", "inputs": {"input_ids": enc(x), "pixel_values": enc(px), "image_hard_ids": enc(hard)},
         "outputs": {"vision_last_hidden_state": enc(states.flatten(2).transpose(1, 2)), "image_soft_tokens": enc(soft), "image_hard_tokens": enc(own),
                     "logits": enc(logits)}},
        {"name": "greedy", "inputs": {"same_inputs_as": "forward"}, "outputs": {"tokens": enc(tokens)}},
    ]
    about = "Gemma 3n with a short MobileNetV5; vision_last_hidden_state is [pictures, places, channels], before its scale"
    with open(os.path.join(folder, "golden.json"), "w") as f:
        json.dump({"case": NAME, "about": about, "tolerance": {"abs": 1e-4, "rel": 1e-4}, "runs": runs}, f, separators=(",", ":"))
        f.write("\n")
    model.config.vision_config.model_args = saved
    model.save_pretrained(folder)
    for extra in ["generation_config.json"]:
        if os.path.exists(os.path.join(folder, extra)):
            os.remove(os.path.join(folder, extra))
    for f in sorted(os.listdir(folder)):
        print(f, os.path.getsize(os.path.join(folder, f)))
    print("soft", soft.abs().mean().item(), "states", states.std().item(), "logits", logits.std().item())


main()
