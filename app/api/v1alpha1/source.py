"""Sources as users write them: part of a ModelCache's spec."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from app.api.schema import Model, ObjectName, Rule
from app.contracts.sources import TYPES, SourceType, hub_name, parse_repository


class DownloadPolicy(StrEnum):
    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


Pattern = Annotated[str, Field(min_length=1, max_length=256)]
Url = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s]+$")]
Bucket = Annotated[str, Field(min_length=3, max_length=222, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
REPOSITORY = r"^(hf://|huggingface://)?[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"


class SourceMember(Model):
    """What every source's spec has in common: the Secret with its credentials, if any, is named in `credentialsSecret`,
    or in the field that `secret_field` names."""

    secret_field: ClassVar[str] = "credentials_secret"
    access_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that say how the content is reached, not which it is: another value is no other content."""

    @property
    def secret(self) -> str:
        """The Secret that it names; "" = none."""
        return getattr(self, self.secret_field, None) or ""


class HuggingFaceSource(SourceMember):
    """A repository of the Hugging Face Hub."""

    secret_field = "token_secret"

    repository: Annotated[str, AfterValidator(hub_name)] = Field(
        max_length=200,
        pattern=REPOSITORY,
        description="Repository: organisation/name, also with hf:// before it.",
    )
    revision: str = Field(
        "main", max_length=200, pattern=r"^[^\s]+$", description="Branch, tag or commit; a commit never moves."
    )
    token_secret: ObjectName | None = Field(
        None, description="Secret of this namespace whose key `token` holds an access token."
    )
    include: list[Pattern] | None = Field(
        None, max_length=64, description='Only files that match one of these, for example "*.safetensors".'
    )
    exclude: list[Pattern] | None = Field(None, max_length=64, description="No file that matches one of these.")


def named_repository(model: str) -> HuggingFaceSource:
    """The repository that a model's name is, where no source is given: `org/name`, `hf://org/name@revision`, or the
    address of its page."""
    found = parse_repository(model)
    if found is None:
        return HuggingFaceSource.model_construct(repository=model)
    repository, revision = found
    return HuggingFaceSource.model_construct(repository=repository, revision=revision or "main")


class S3Source(SourceMember):
    """A folder of an S3 bucket."""

    access_fields = frozenset({"region"})

    bucket: Bucket = Field(description="Name of the bucket.")
    key: str = Field(min_length=1, max_length=1024, description='Folder in the bucket, for example "llama2-7b/".')
    region: str | None = Field(None, min_length=1, max_length=64, description="Region of the bucket.")
    endpoint: Url | None = Field(None, description="URL of an S3-compatible store; absent: AWS.")
    credentials_secret: ObjectName | None = Field(
        None,
        description="Secret of this namespace with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; absent: "
        "the workload identity of the downloader, else none.",
    )


class GCSSource(SourceMember):
    """A folder of a Google Cloud Storage bucket."""

    bucket: Bucket = Field(description="Name of the bucket.")
    prefix: str | None = Field(None, min_length=1, max_length=1024, description="Folder in the bucket; absent: all.")
    credentials_secret: ObjectName | None = Field(
        None,
        description="Secret of this namespace whose key `key.json` is a service account's key file; absent: the "
        "workload identity of the downloader, else none.",
    )


class HTTPSource(SourceMember):
    """Files of a web server."""

    rules = (
        Rule(
            "has(self.url) != has(self.urls)",
            "give either url (one file) or urls (several files)",
        ),
        Rule("!has(self.sha256) || has(self.url)", "sha256 is the checksum of one file: give url instead of urls"),
        Rule(
            "!has(self.extract) || !self.extract || has(self.url)",
            "extract unpacks one archive: give url instead of urls",
        ),
    )

    url: Url | None = Field(None, description="URL of one file.")
    urls: list[Url] | None = Field(None, min_length=1, max_length=256, description="URLs of several files.")
    sha256: str | None = Field(
        None, min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$", description="Checksum of the file at url."
    )
    extract: bool = Field(
        False, description="Unpack the archive at url (.tar, .tar.gz, .zip); without it an archive is refused."
    )


def _union() -> Rule:
    """`huggingface` may be left out."""
    hub = SourceType.HUGGINGFACE
    optional = f"(self.type == '{hub}' || !has(self.{hub}))"
    exact = (f"(self.type == '{it}') == has(self.{it})" for it in SourceType if it is not hub)
    return Rule(
        " && ".join((optional, *exact)),
        "source holds exactly the member that source.type names (huggingface may be left out: then the repository is "
        "modelName)",
    )


class SourceSpec(Model):
    """Where a model comes from: `type` and the member of that name."""

    rules = (_union(),)

    type: SourceType = Field(description=f"Which member describes the source: {TYPES}.")
    huggingface: HuggingFaceSource | None = Field(
        None, description="A repository of the Hugging Face Hub; absent: the repository is modelName."
    )
    s3: S3Source | None = Field(None, description="A folder of an S3 bucket.")
    gcs: GCSSource | None = Field(None, description="A folder of a Google Cloud Storage bucket.")
    http: HTTPSource | None = Field(None, description="Files of a web server.")

    @property
    def member(self) -> SourceMember | None:
        """The one that `type` names; fields are named as types are."""
        found: SourceMember | None = getattr(self, self.type.value)
        return found

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        # The CEL rule speaks first; this is for objects that were stored before the rule was.
        if self.member is None and self.type is not SourceType.HUGGINGFACE:
            raise ValueError(f"type is {self.type}: give source.{self.type}")
        return self
