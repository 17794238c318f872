"""What a folder's model is asked with: the prompt as its chat template renders it, with and without room for thoughts."""

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from identity_kit.models.decode import prompt_ids
from tests.tiny import CHATML

THINKING = CHATML + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"


def test_a_model_that_can_think_is_told_not_to_and_others_are_asked_as_ever():
    vocabulary = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    talk = [{"role": "user", "content": "Who are you?"}]
    tokenizer.chat_template = CHATML
    plain = prompt_ids(tokenizer, talk)
    assert prompt_ids(tokenizer, talk, thinking=False) == plain
    tokenizer.chat_template = THINKING
    assert prompt_ids(tokenizer, talk) == plain
    ends = tokenizer("<think></think>", add_special_tokens=False)["input_ids"]
    assert prompt_ids(tokenizer, talk, thinking=False) == plain + ends
