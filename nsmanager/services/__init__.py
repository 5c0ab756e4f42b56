"""One file per service of an instance: `service(config, place) -> Service | None`, pure."""
