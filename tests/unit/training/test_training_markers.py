"""A model that is tuned on a format with markers tells other programs where its answers end."""

from transformers import GenerationConfig

from hanlin.core.events import EventLog
from hanlin.core.files import write_jsonl
from hanlin.core.stage import StageContext
from hanlin.data import prepare_chat
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, new_llama
from hanlin.tokenization.load import load
from hanlin.training import finetune
from prompt_tokenizers import make_tokenizer


def run(stage, folder, **values):
    folder.mkdir()
    context = StageContext(folder.name, folder, 0, EventLog(folder / "events.jsonl"))
    stage.run(stage.config(**values), context)
    return folder


def test_template_and_end_tokens_lie_beside_the_weights(tmp_path):
    tokenizer = make_tokenizer(tmp_path / "tokenizer", "sentencepiece")
    shape = Architecture(hidden_size=32, layers=1, heads=2, max_length=128)
    model = save_model(new_llama(shape, tokenizer.vocab_size, 0), tokenizer, tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    write_jsonl(rows, [{"instruction": f"谁 {i}？", "output": "老师"} for i in range(8)])
    source = {"path": str(rows), "name": "chat"}
    store = run(
        prepare_chat.STAGE, tmp_path / "chat",
        tokenizer=str(model), sources=[source], prompt="chatml", seq_len=64,
    )  # fmt: skip
    tuned = run(
        finetune.STAGE, tmp_path / "tuned", model=str(model), store=str(store / "store"),
        method="full", schedule={"steps": 2, "seq_len": 64, "micro_batch_size": 1, "threads": 1},
    )  # fmt: skip
    end = tokenizer.special_id("<|im_end|>")
    found = GenerationConfig.from_pretrained(tuned / "model")
    assert found.eos_token_id == [end, tokenizer.eos_id]
    assert "<|im_end|>" in load(tuned / "model").chat_template
