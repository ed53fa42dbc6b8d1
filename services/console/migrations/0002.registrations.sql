-- depends: 0001.operations

-- Instances of the system's services. The last one of a service stays when it stops, so that the service is
-- known to be down instead of forgotten.

CREATE TABLE IF NOT EXISTS registration (
    service    text NOT NULL,
    instance   text NOT NULL,
    document   jsonb NOT NULL,
    renewed_at timestamptz NOT NULL DEFAULT now(),
    stopped_at timestamptz,
    PRIMARY KEY (service, instance)
);
