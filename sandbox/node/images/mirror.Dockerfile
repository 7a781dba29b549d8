# The downloader where models come from a server of one's own, as on a site without a way to the internet.
ARG BASE
FROM ${BASE}
ARG ENDPOINT
ENV HF_ENDPOINT=${ENDPOINT}
