"""A stand-in for Metacontroller where its binary is not at hand.

It drives the same hooks over the same protocol (version v2) with the same semantics, as far as this project relies on
them; the cluster tests run against both. Left out: rolling update strategies, hook version v1, server-side apply,
adoption of orphans, TLS and authentication of hooks; of DecoratorControllers, finalize hooks and several resources.
"""
