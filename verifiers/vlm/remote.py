"""The verifier `vlm`: any OpenAI-compatible endpoint (vLLM, SGLang, Ollama, hosted ones)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from worldsim.errors import InvalidInput
from worldsim.registry import VERIFIERS
from worldsim.verifiers.vlm.address import checked_url, secret_of
from worldsim.verifiers.vlm.asking import Asking, VlmJudge, refuse_other_than_bool
from worldsim.verifiers.vlm.cache import Cache, cache_folder
from worldsim.verifiers.vlm.endpoint import Access, Endpoint
from worldsim.verifiers.vlm.pace import Pace
from worldsim.verifiers.vlm.request import Sampling, checked_structure
from worldsim.verifiers.vlm.wire import import_openai


@VERIFIERS.register("vlm")
@dataclass(kw_only=True)
class VlmConfig(Asking):
    """A vision-language model behind an OpenAI-compatible endpoint. Options of what is asked are those of `Asking`.

    Attributes:
        model: as the server calls it.
        base_url: where it is, with /v1 where the server wants that.
        server: a name that stands for base_url in what identifies the judge and its kept answers, for a server that moves.
        api_key_env: name of the environment variable that holds the key.
        allow_remote: let frames travel in plain http to another machine.
        temperature, max_tokens, seed: of sampling; sample i has seed + i.
        logprobs: ask for log-probabilities.
        structured: both, json, choice or none: which fields ask for one of the options.
        extra: fields added to each request; a null one is left out of it, as in {max_tokens: null, max_completion_tokens: 16}.
        jpeg_quality: 1 to 95.
        concurrency: requests at once.
        requests_per_minute: at most so many; null is no limit.
        timeout: seconds for one request.
        retries: how often a failed request is made again.
        backoff: seconds before the first of those, doubling.
        give_up: after so many questions in a row without an answer, the rest of a batch is not asked; a resumed evaluation asks them.
        price: [in, out] of 1,000 tokens, to have the cost recorded.
        cache: true keeps answers in the user's cache folder, false nowhere, else a folder.
    """

    incidental: ClassVar[tuple[str, ...]] = (
        *("server", "api_key_env", "allow_remote", "concurrency", "requests_per_minute", "timeout"),
        *("retries", "backoff", "give_up", "price", "cache"),
    )
    model: str
    base_url: str
    server: str | None = None
    api_key_env: str | None = None
    allow_remote: bool = False
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int = 0
    logprobs: bool = True
    structured: str = "both"
    extra: Mapping[str, Any] = field(default_factory=dict)
    jpeg_quality: int = 90
    concurrency: int = 4
    requests_per_minute: float | None = None
    timeout: float = 60.0
    retries: int = 3
    backoff: float = 1.0
    give_up: int = 16
    price: Any = None
    cache: Any = True

    def facts(self) -> dict[str, Any]:
        """What identifies it in a run: all that may change a verdict, and nothing of the key, the pace or the cache. Raises as `build`."""
        self._check()
        return {"base_url": self.server or checked_url(self.base_url, allow_remote=True)} | self.asking_facts() | asdict(self.sampling())

    def sampling(self) -> Sampling:
        """How the model is asked."""
        return Sampling(
            model=self.model,
            temperature=float(self.setting("temperature")),
            max_tokens=self.setting("max_tokens"),
            seed=self.seed,
            logprobs=self.logprobs,
            structured=checked_structure(self.structured),
            max_side=self.max_side,
            jpeg_quality=self.jpeg_quality,
            extra=dict(self.extra),
        )

    def build(self, pace: Pace | None = None) -> VlmJudge:
        """The judge; `pace` replaces the one that `requests_per_minute` asks for.

        Raises:
            InvalidInput, UnknownName, DamagedFile: options that make no sense, or no such prompt.
            MissingDependency: openai is not installed.
        """
        self._check()
        import_openai()
        price = None if self.price is None else (float(self.price[0]), float(self.price[1]))
        access = Access(
            base_url=checked_url(self.base_url, allow_remote=self.allow_remote),
            server=self.server,
            secret=secret_of(self.api_key_env),
            timeout=float(self.timeout),
            retries=self.retries,
            backoff=float(self.backoff),
            concurrency=self.concurrency,
            give_up=self.give_up,
            price=price,
        )
        endpoint = Endpoint(access, self.sampling(), Cache(cache_folder(self.cache)), pace or Pace(self.requests_per_minute))
        return VlmJudge(self, endpoint, {"model": self.model})

    def _check(self) -> None:
        self.check()
        refuse_other_than_bool(logprobs=self.logprobs, allow_remote=self.allow_remote)
        if not isinstance(self.model, str) or not self.model.strip():
            raise InvalidInput("model is empty, expected its name on the server; type model: Qwen/Qwen3-VL-8B-Instruct")
        if self.server is not None and (not isinstance(self.server, str) or not self.server.strip()):
            raise InvalidInput(f"server is {self.server!r}, expected a name of your own such as our-qwen, or leave it out")
        whole = {"concurrency": (1, 64), "retries": (0, 20), "give_up": (1, 10**6), "jpeg_quality": (1, 95), "seed": (0, 2**31)}
        for name, (low, high) in (whole | {"max_tokens": (1, 10**5)}).items():
            value = self.setting(name) if name == "max_tokens" else getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidInput(f"{name} is {value}, expected a whole number from {low} to {high}")
        numbers = {"timeout": (0.01, 3600), "backoff": (0, 60), "requests_per_minute": (0.01, 10**6), "temperature": (0, 2)}
        for name, (low, high) in numbers.items():
            value = self.setting(name) if name == "temperature" else getattr(self, name)
            if not (name == "requests_per_minute" and value is None) and not _number(value, low, high):
                raise InvalidInput(f"{name} is {value}, expected a number from {low} to {high}")
        if self.setting("samples") > 1 and self.setting("temperature") == 0:
            raise InvalidInput(f"{self.setting('samples')} samples at temperature 0 are one and the same; type temperature: 1.0")
        if not isinstance(self.extra, Mapping):
            raise InvalidInput(f"extra is {self.extra}, expected a mapping of request fields as in {{top_p: 0.9}}")
        if self.price is not None and not (_pair(self.price) and all(_number(each, 0, 10**6) for each in self.price)):
            raise InvalidInput(f"price is {self.price}, expected what 1,000 tokens cost, as in [0.00015, 0.0006] for those in and out")


def _pair(value: Any) -> bool:
    return not isinstance(value, str | Mapping) and hasattr(value, "__len__") and len(value) == 2


def _number(value: Any, low: float, high: float) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and low <= value <= high
