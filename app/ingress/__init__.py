"""The Ingress of services and endpoints: the object, and what of it is allowed."""
