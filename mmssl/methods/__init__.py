"""The field's table of contents: each method assembles an objective from parts; its defaults are the paper's."""

from mmssl.methods.cross_modal import audio_visual_contrastive, multimodal
from mmssl.methods.jepa import audio_visual_jepa, ijepa, vjepa
from mmssl.methods.joint_embedding import byol, simclr, vicreg
from mmssl.methods.masked import bert, collobert_weston, modernbert, roberta, text_denoising, xlm_roberta
from mmssl.methods.pixels import audio_mae, frame_prediction, frame_prediction_latent, mae

METHODS = {
    "bert": bert,
    "roberta": roberta,
    "xlm_roberta": xlm_roberta,
    "modernbert": modernbert,
    "collobert_weston": collobert_weston,
    "text_denoising": text_denoising,
    "simclr": simclr,
    "vicreg": vicreg,
    "byol": byol,
    "mae": mae,
    "ijepa": ijepa,
    "audio_mae": audio_mae,
    "frame_prediction": frame_prediction,
    "frame_prediction_latent": frame_prediction_latent,
    "vjepa": vjepa,
    "audio_visual_contrastive": audio_visual_contrastive,
    "audio_visual_jepa": audio_visual_jepa,
    "multimodal": multimodal,
}
