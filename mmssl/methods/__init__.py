"""The field's table of contents: each method assembles an objective from parts; its defaults are the paper's."""

from mmssl.methods.across import audio_from_video, audio_visual_jepa, video_from_audio
from mmssl.methods.adversarial import frame_prediction_gan, gan
from mmssl.methods.asymmetry import byol, dino, simsiam
from mmssl.methods.autoencoders import vae, vqvae
from mmssl.methods.cav_mae import cav_mae
from mmssl.methods.clusters import clusterfit, deepcluster, deepcluster_v2, deepercluster, seer, swav
from mmssl.methods.contrast import moco, moco_v2, moco_v3, npid, pirl, siamese, simclr
from mmssl.methods.cross_clusters import av_cluster, xdc
from mmssl.methods.cross_modal import (
    audio_visual_barlow,
    audio_visual_contrastive,
    audio_visual_vicreg,
    contrastive_captions,
    multimodal,
)
from mmssl.methods.denoising import audio_denoising, beit, denoising_autoencoder, simmim
from mmssl.methods.frames import frame_order, frame_prediction, frame_prediction_latent
from mmssl.methods.generative import diffusion, latent_diffusion, video_diffusion
from mmssl.methods.jepa import data2vec, ijepa, vjepa
from mmssl.methods.latent import conditional_vae, jepa_with_latent, vjepa_with_latent
from mmssl.methods.masked import bert, collobert_weston, modernbert, roberta, text_denoising, xlm_roberta
from mmssl.methods.pixels import audio_mae, mae, videomae
from mmssl.methods.redundancy import barlow_twins, lejepa, vicreg, w_mse
from mmssl.methods.sparse import sparse_coding
from mmssl.methods.speech import data2vec_audio, hubert, wav2vec2

METHODS = {
    "bert": bert,
    "roberta": roberta,
    "xlm_roberta": xlm_roberta,
    "modernbert": modernbert,
    "collobert_weston": collobert_weston,
    "text_denoising": text_denoising,
    "siamese": siamese,
    "npid": npid,
    "pirl": pirl,
    "simclr": simclr,
    "moco": moco,
    "moco_v2": moco_v2,
    "moco_v3": moco_v3,
    "deepcluster": deepcluster,
    "deepercluster": deepercluster,
    "clusterfit": clusterfit,
    "deepcluster_v2": deepcluster_v2,
    "swav": swav,
    "seer": seer,
    "byol": byol,
    "simsiam": simsiam,
    "dino": dino,
    "barlow_twins": barlow_twins,
    "w_mse": w_mse,
    "vicreg": vicreg,
    "lejepa": lejepa,
    "denoising_autoencoder": denoising_autoencoder,
    "mae": mae,
    "simmim": simmim,
    "beit": beit,
    "ijepa": ijepa,
    "data2vec": data2vec,
    "vae": vae,
    "vqvae": vqvae,
    "conditional_vae": conditional_vae,
    "jepa_with_latent": jepa_with_latent,
    "gan": gan,
    "diffusion": diffusion,
    "latent_diffusion": latent_diffusion,
    "sparse_coding": sparse_coding,
    "audio_mae": audio_mae,
    "audio_denoising": audio_denoising,
    "wav2vec2": wav2vec2,
    "hubert": hubert,
    "data2vec_audio": data2vec_audio,
    "frame_prediction": frame_prediction,
    "frame_prediction_latent": frame_prediction_latent,
    "frame_prediction_gan": frame_prediction_gan,
    "video_diffusion": video_diffusion,
    "videomae": videomae,
    "frame_order": frame_order,
    "vjepa": vjepa,
    "vjepa_with_latent": vjepa_with_latent,
    "audio_visual_contrastive": audio_visual_contrastive,
    "audio_visual_vicreg": audio_visual_vicreg,
    "audio_visual_barlow": audio_visual_barlow,
    "xdc": xdc,
    "av_cluster": av_cluster,
    "cav_mae": cav_mae,
    "audio_visual_jepa": audio_visual_jepa,
    "audio_from_video": audio_from_video,
    "video_from_audio": video_from_audio,
    "contrastive_captions": contrastive_captions,
    "multimodal": multimodal,
}
