"""The field's table of contents: each method assembles an objective from parts; its defaults are the paper's."""

from mmssl.methods.masked import bert, collobert_weston, modernbert, roberta, text_denoising, xlm_roberta

METHODS = {
    "bert": bert,
    "roberta": roberta,
    "xlm_roberta": xlm_roberta,
    "modernbert": modernbert,
    "collobert_weston": collobert_weston,
    "text_denoising": text_denoising,
}
