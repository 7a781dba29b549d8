"""ModelCache as users write it: the single source of its CRD."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from app.crd import Column, Kind, Model, ObjectName, Quantity, Rule
from app.modelcache.schema import ModelCacheStatus


class SourceType(StrEnum):
    HUGGINGFACE = "huggingface"
    S3 = "s3"
    GCS = "gcs"
    HTTP = "http"


class DownloadPolicy(StrEnum):
    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class AccessMode(StrEnum):
    READ_WRITE_MANY = "ReadWriteMany"
    READ_WRITE_ONCE = "ReadWriteOnce"


Pattern = Annotated[str, Field(min_length=1, max_length=256)]
Url = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s]+$")]
Bucket = Annotated[str, Field(min_length=3, max_length=222, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"


class HuggingFaceSource(Model):
    """A repository of the Hugging Face Hub."""

    repository: str = Field(max_length=200, pattern=REPOSITORY, description="Repository: organisation/name.")
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


class S3Source(Model):
    """A folder of an S3 bucket."""

    bucket: Bucket = Field(description="Name of the bucket.")
    key: str = Field(min_length=1, max_length=1024, description='Folder in the bucket, for example "llama2-7b/".')
    region: str | None = Field(None, min_length=1, max_length=64, description="Region of the bucket.")
    endpoint: Url | None = Field(None, description="URL of an S3-compatible store; absent: AWS.")
    credentials_secret: ObjectName | None = Field(
        None,
        description="Secret of this namespace with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; absent: "
        "the bucket is read without credentials.",
    )


class GCSSource(Model):
    """A folder of a Google Cloud Storage bucket."""

    bucket: Bucket = Field(description="Name of the bucket.")
    prefix: str | None = Field(None, min_length=1, max_length=1024, description="Folder in the bucket; absent: all.")
    credentials_secret: ObjectName | None = Field(
        None,
        description="Secret of this namespace whose key `key.json` is a service account's key file; absent: the "
        "bucket is read without credentials.",
    )


class HTTPSource(Model):
    """Files of a web server."""

    rules = (
        Rule(
            "has(self.url) != has(self.urls)",
            "give either url (one file) or urls (several files)",
        ),
        Rule("!has(self.sha256) || has(self.url)", "sha256 is the checksum of one file: give url instead of urls"),
    )

    url: Url | None = Field(None, description="URL of one file; an archive (.tar, .tar.gz, .zip) is unpacked.")
    urls: list[Url] | None = Field(None, min_length=1, max_length=256, description="URLs of several files.")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Checksum of the file at url.")


SourceMember = HuggingFaceSource | S3Source | GCSSource | HTTPSource

_UNION = Rule(
    "(self.type == 'huggingface' || !has(self.huggingface)) && (self.type == 's3') == has(self.s3) "
    "&& (self.type == 'gcs') == has(self.gcs) && (self.type == 'http') == has(self.http)",
    "source holds exactly the member that source.type names (huggingface may be left out: then the repository is "
    "modelName)",
)


class SourceSpec(Model):
    """Where a model comes from: `type` and the member of that name."""

    rules = (_UNION,)

    type: SourceType = Field(description="Which member describes the source: huggingface, s3, gcs or http.")
    huggingface: HuggingFaceSource | None = Field(
        None, description="A repository of the Hugging Face Hub; absent: the repository is modelName."
    )
    s3: S3Source | None = Field(None, description="A folder of an S3 bucket.")
    gcs: GCSSource | None = Field(None, description="A folder of a Google Cloud Storage bucket.")
    http: HTTPSource | None = Field(None, description="Files of a web server.")

    @property
    def member(self) -> SourceMember | None:
        members: dict[SourceType, SourceMember | None] = {
            SourceType.HUGGINGFACE: self.huggingface,
            SourceType.S3: self.s3,
            SourceType.GCS: self.gcs,
            SourceType.HTTP: self.http,
        }
        return members[self.type]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        # The CEL rule speaks first; this is for objects that were stored before the rule was.
        if self.member is None and self.type is not SourceType.HUGGINGFACE:
            raise ValueError(f"type is {self.type}: give source.{self.type}")
        return self


class CachingSpec(Model):
    """How the model is kept."""

    enabled: bool = Field(True, description="Keep the model on a PersistentVolumeClaim. There is no other way yet.")
    replicas: int = Field(
        1, ge=1, le=100, description="Copies across nodes. One shared volume holds one; more is reported, not made."
    )


_SIZE_IS_POSITIVE = Rule(
    "!has(self.size) || quantity(string(self.size)).isGreaterThan(quantity('0'))",
    "size must be more than 0: write for example 50Gi",
    field_path=".size",
)


class ModelCacheSpec(Model):
    """Desired state of a ModelCache."""

    rules = (_SIZE_IS_POSITIVE,)

    model_name: str = Field(
        min_length=1, max_length=200, description="The model, for example meta-llama/Llama-2-7b-chat-hf."
    )
    storage_class: ObjectName | None = Field(
        None, description="StorageClass of the volume; absent: the operator's, else the cluster's default."
    )
    size: Quantity | None = Field(
        None, description="Size of the volume, for example 50Gi; it can grow but not shrink. Absent: the operator's."
    )
    access_mode: AccessMode = Field(
        AccessMode.READ_WRITE_MANY,
        description="ReadWriteMany lets pods on several nodes read the model; ReadWriteOnce those of one node.",
    )
    download_policy: DownloadPolicy = Field(
        DownloadPolicy.IF_NOT_PRESENT,
        description="Always: fetch again at each refresh. IfNotPresent: fetch what is missing. Never: only verify "
        "what is on the volume.",
    )
    source: SourceSpec | None = Field(
        None, description="Where the model comes from; absent: the Hugging Face repository named by modelName."
    )
    caching: CachingSpec = Field(default_factory=CachingSpec, description="How the model is kept.")

    @property
    def source_type(self) -> SourceType:
        return self.source.type if self.source else SourceType.HUGGINGFACE

    @property
    def source_member(self) -> SourceMember:
        """The chosen member of source; without one, modelName is a Hugging Face repository."""
        member = self.source.member if self.source else None
        return member or HuggingFaceSource.model_construct(repository=self.model_name)


KIND = Kind(
    name="ModelCache",
    plural="modelcaches",
    short_names=("mcache",),
    spec=ModelCacheSpec,
    status=ModelCacheStatus,
    description="ModelCache downloads a model once to a volume that InferenceServices of its namespace read.",
    columns=(
        Column("Model", ".spec.modelName", "The model."),
        Column("Phase", ".status.phase", "Pending, Downloading, Ready or Failed."),
        Column("Progress", ".status.downloadProgress", "Percent of the download that is done.", "integer"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether services can read the model."),
        Column(
            "Since",
            '.status.conditions[?(@.type=="Ready")].lastTransitionTime',
            "Since when Ready has this value.",
            "date",
        ),
        Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date"),
        Column("Size", ".status.sizeOnDisk", "Space the model takes.", priority=1),
        Column("Claim", ".status.claimName", "PersistentVolumeClaim that holds the model.", priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', "What is going on.", priority=1),
    ),
    rules=(
        Rule(
            "self.metadata.name.size() <= 45",
            "metadata.name may have at most 45 characters, for the download Job's name must fit 63: shorten it",
        ),
    ),
)
