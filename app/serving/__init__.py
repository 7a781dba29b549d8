"""Between the network and the hooks: what keeps one caller, or one object, from stopping the service of all others."""
