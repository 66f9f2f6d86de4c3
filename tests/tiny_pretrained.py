"""CLIP and SAM of random weights and a few thousand parameters, in folders as the hub has them."""

import torch

from hdrcli.perception import _pretrained


def clip(folder, dimensions=12):
    """A whole CLIP, text tower included; the folder's name."""
    import transformers

    torch.manual_seed(0)
    common = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": dimensions,
    }
    text = {**common, "vocab_size": 20, "max_position_embeddings": 4, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {**common, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=dimensions)
    return _save(transformers.CLIPModel(config), folder)


def sam(folder):
    """The folder's name."""
    import transformers

    torch.manual_seed(0)
    vision = {
        "hidden_size": 16,
        "output_channels": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "window_size": 2,
        "global_attn_indexes": [0],
        "mlp_dim": 16,
        "num_pos_feats": 8,
    }
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder |= {"iou_head_hidden_dim": 16, "iou_head_depth": 2}
    config = transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    network = transformers.SamModel(config)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.5)  # as it is made, all its logits are next to 0
    return _save(network, folder)


def _save(network, folder):
    with _pretrained._quiet():
        network.save_pretrained(folder)
    return str(folder)
