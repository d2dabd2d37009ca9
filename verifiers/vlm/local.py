"""The verifier `vlm-local`: an image-text-to-text model of transformers, from a local folder, in this process.

p(yes) is read from the logits of the first token of its reply: the softmax over all spellings of yes and of no that are one token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from worldsim.data.files import digest_of_files
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, install_extra
from worldsim.registry import VERIFIERS
from worldsim.verifiers.vlm.asking import Asking, VlmJudge
from worldsim.verifiers.vlm.frames import shrunk
from worldsim.verifiers.vlm.logprobs import spelling
from worldsim.verifiers.vlm.prompts import NO, YES
from worldsim.verifiers.vlm.questions import Answer, Opinion, Question
from worldsim.verifiers.vlm.text import shown


@VERIFIERS.register("vlm-local")
@dataclass(kw_only=True)
class LocalVlmConfig(Asking):
    """A vision-language model in a folder of `save_pretrained`. Options of what is asked are those of `Asking`.

    Attributes:
        path: the folder, with model, tokenizer, image processor and chat template. Nothing is fetched and none of its code is run.
        device: cpu, cuda or as torch names it.
        dtype: float32, bfloat16, float16, or auto as the checkpoint has it.
        batch: questions at once.
        least_mass: probability that all spellings of yes and no together need, else the model cannot tell: it would say something else.
    """

    incidental: ClassVar[tuple[str, ...]] = ("batch",)
    path: str
    device: str = "cpu"
    dtype: str = "auto"
    batch: int = 4
    least_mass: float = 0.5

    def facts(self) -> dict[str, Any]:
        """What identifies it in a run: the folder's content, wherever it lies, and all that is asked. Raises as `build`."""
        self._check()
        return {"sha256": fingerprint(self.path), "dtype": self.dtype, "least_mass": self.least_mass} | self.asking_facts()

    def build(self) -> VlmJudge:
        """Load the model.

        Raises:
            InvalidInput: no such folder, one without a chat template or a yes and a no among its tokens, or options that make no sense.
            DamagedFile: a folder that transformers cannot load.
            MissingDependency: transformers is not installed.
        """
        self._check()
        model, processor = load_local(self.path, self.device, self.dtype)
        return VlmJudge(self, LocalModel(model, processor, self.batch, self.max_side, self.least_mass), {"model": Path(self.path).name})

    def _check(self) -> None:
        self.check()
        if self.told.reply != "word":
            raise InvalidInput(
                f'prompt "{self.told.name}" wants a longer reply; vlm-local reads the first token only: type prompt: careful'
            )
        if self.setting("samples") > 1:
            raise InvalidInput("samples is more than 1, but logits are the same each time; leave samples out")
        if type(self.batch) is not int or self.batch < 1 or not 0 <= self.least_mass <= 1:
            raise InvalidInput(f"batch is {self.batch} and least_mass {self.least_mass}, expected 1 or more and a number from 0 to 1")


class LocalModel:
    """Answers questions with the logits of a model's first token."""

    def __init__(self, model: Any, processor: Any, batch: int, max_side: int, least_mass: float) -> None:
        self._model, self._processor = model, processor
        self._batch, self._max_side, self._least_mass = batch, max_side, least_mass
        self._spellings = spellings_of(processor.tokenizer)

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """An answer for each question, in their order. Only questions with equally many pictures share a batch."""
        rows = sorted(range(len(questions)), key=lambda row: len(questions[row].pictures))
        found: dict[int, Answer] = {}
        while rows:
            count = len(questions[rows[0]].pictures)
            taken = [row for row in rows[: self._batch] if len(questions[row].pictures) == count]
            rows = rows[len(taken) :]
            found |= dict(zip(taken, self._answers([questions[row] for row in taken]), strict=True))
        return [found[row] for row in range(len(questions))]

    def _answers(self, questions: Sequence[Question]) -> list[Answer]:
        logits = self.first_logits(questions)
        return [self._answer(row) for row in logits]

    def first_logits(self, questions: Sequence[Question]) -> Any:
        """Logits float32 `[B, vocabulary]` of the first token of each reply."""
        import torch

        inputs = self._processor(
            text=[self._chat(question) for question in questions],
            images=[[shrunk(picture, self._max_side) for picture in question.pictures] for question in questions],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        inputs = inputs.to(self._model.device, dtype=self._model.dtype)
        with torch.inference_mode():
            made = self._model.generate(
                **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True, pad_token_id=0
            )
        return made.logits[0].float().cpu()

    def _chat(self, question: Question) -> str:
        content = [*({"type": "image"} for _ in question.pictures), {"type": "text", "text": question.text}]
        return self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)

    def _answer(self, logits: Any) -> Answer:
        import torch

        if not torch.isfinite(logits).any() or torch.isnan(logits).any():
            return Answer(Opinion(None, "the model's logits are not finite"))
        logs = logits.double().log_softmax(-1)
        yes, no = (logs[self._spellings[word]].logsumexp(-1) for word in (YES, NO))
        mass = float((yes.exp() + no.exp()).clamp(max=1))
        likeliest = shown(repr(self._processor.tokenizer.decode([int(logs.argmax())])), most=40)
        if mass < self._least_mass:
            return Answer(Opinion(None, f"p(yes) and p(no) add up to {mass:.2g} only; the model would begin with {likeliest}"), likeliest)
        return Answer(Opinion(float(torch.sigmoid(yes - no)), source="logits"), likeliest)


def spellings_of(tokenizer: Any) -> dict[str, list[int]]:
    """Ids of the tokens that are spellings of yes and of no.

    Raises:
        InvalidInput: there is no such token for one of them.
    """
    found: dict[str, list[int]] = {YES: [], NO: []}
    for token, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        if (word := spelling(token)) is not None:
            found[word].append(number)
    if not all(found.values()):
        raise InvalidInput("the tokenizer has no token for yes or none for no, so this model cannot be asked; use another one")
    return found


def load_local(path: str, device: str, dtype: str) -> tuple[Any, Any]:
    """(model, processor) of a local folder, without the network and without code from the folder.

    Raises:
        InvalidInput: no such folder, or one without a chat template.
        DamagedFile: transformers cannot load it.
        MissingDependency: transformers is not installed.
    """
    if not Path(path).is_dir():
        raise InvalidInput(f"{path} is no folder, expected one with a model of transformers (config.json, *.safetensors, tokenizer.json)")
    try:
        from transformers import AutoModelForImageTextToText, AutoProcessor
    except ImportError as error:
        raise MissingDependency(f"a local VLM needs transformers; type: {install_extra('vlm')}") from error
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoProcessor.from_pretrained(path, **options)
        model = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, use_safetensors=True, **options).to(device).eval()
    except Exception as error:  # transformers raises all kinds, with many lines
        line = shown((str(error).strip().splitlines() or ["no reason given"])[0])
        raise DamagedFile(f"{path} cannot be loaded as an image-text-to-text model ({type(error).__name__}: {line})") from error
    if not getattr(processor, "chat_template", None) or not hasattr(processor, "tokenizer"):
        raise InvalidInput(f"{path} has no chat template, expected an instruction-tuned model with one")
    return model, processor


def fingerprint(path: str) -> str:
    """A name for a model folder's content, every byte of it: two models may differ in a few layers only.

    Raises:
        InvalidInput: no such folder.
    """
    files = sorted(file for file in Path(path).glob("*") if file.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt"))
    if not files:
        raise InvalidInput(f"{path} is no folder with a model of transformers")
    return digest_of_files(files, path)
