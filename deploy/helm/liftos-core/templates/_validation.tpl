{{/* Combinations that a schema of single values cannot refuse; all are reported at once. */}}
{{- define "liftos-core.validate" -}}
{{- $problems := list -}}
{{- $values := .Values -}}
{{- if $values.development.enabled -}}
{{- range list "postgresUrl" "postgresOwnerUrl" "redisUrl" "jwtSecret" -}}
{{- if not (index $values.development .) -}}
{{- $problems = append $problems (printf "development.%s is empty: development.enabled takes it from the values" .) -}}
{{- end -}}
{{- end -}}
{{- if ne $values.auth.algorithm "HS256" -}}
{{- $problems = append $problems "auth.algorithm is not HS256: development.enabled works with a shared secret" -}}
{{- end -}}
{{- else -}}
{{- if not $values.postgres.existingSecret -}}
{{- $problems = append $problems "postgres.existingSecret is empty: name the Secret that holds the Postgres URLs" -}}
{{- end -}}
{{- if not $values.redis.existingSecret -}}
{{- $problems = append $problems "redis.existingSecret is empty: name the Secret that holds the Redis URL" -}}
{{- end -}}
{{- if not $values.auth.existingSecret -}}
{{- $problems = append $problems "auth.existingSecret is empty: name the Secret of the shared secret (HS256) or of the page tokens (RS256)" -}}
{{- end -}}
{{- end -}}
{{- range $name, $service := $values.services -}}
{{- if $service.enabled -}}
{{- with $service.secretKeys -}}
{{- if and $values.development.enabled (not $values.development.secretKeys) -}}
{{- $problems = append $problems (printf "development.secretKeys is empty: services.%s seals what it keeps with it" $name) -}}
{{- else if not (or $values.development.enabled .existingSecret) -}}
{{- $problems = append $problems (printf "services.%s.secretKeys.existingSecret is empty: name the Secret with the keys that seal what it keeps" $name) -}}
{{- end -}}
{{- end -}}
{{- with $service.modelKeys -}}
{{- if and (or .embedderKey .insightWordingKey) (not .existingSecret) -}}
{{- $problems = append $problems (printf "services.%s.modelKeys.existingSecret is empty: name the Secret with the keys of servers of models" $name) -}}
{{- end -}}
{{- end -}}
{{- if ne (hasKey (default dict $service.settings) "insightWordingUrl") (hasKey (default dict $service.settings) "insightWordingModel") -}}
{{- $problems = append $problems (printf "services.%s.settings.insightWordingModel goes together with insightWordingUrl" $name) -}}
{{- end -}}
{{- with $service.serviceKey -}}
{{- if and (eq $values.auth.algorithm "RS256") (not .existingSecret) -}}
{{- $problems = append $problems (printf "services.%s.serviceKey.existingSecret is empty: RS256 needs the key that signs its calls to other services" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $service.stores (not $service.stores.existingSecret) -}}
{{- $problems = append $problems (printf "services.%s.stores.existingSecret is empty: name the Secret with the addresses of its own stores" $name) -}}
{{- end -}}
{{- range list "memory" "ingestion" -}}
{{- if and (has . $service.connections) (not (index $values.services .).enabled) -}}
{{- $problems = append $problems (printf "services.%s.enabled is false: services.%s calls that of this release" . $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.auth.algorithm "RS256") (not $values.auth.jwksUrl) -}}
{{- $problems = append $problems "auth.jwksUrl is empty: RS256 needs the address of a key set" -}}
{{- end -}}
{{- if and $values.tls.enabled (not $values.tls.existingSecret) -}}
{{- $problems = append $problems "tls.existingSecret is empty: tls.enabled needs a certificate" -}}
{{- end -}}
{{- if and $values.tls.clientCa.enabled (not $values.tls.enabled) -}}
{{- $problems = append $problems "tls.clientCa.enabled needs tls.enabled" -}}
{{- end -}}
{{- range $name, $service := $values.services -}}
{{- range $role := list "server" "worker" -}}
{{- $workload := include "liftos-core.workload" (dict "root" $ "service" $service "role" $role) | fromJson -}}
{{- $scaling := $workload.autoscaling -}}
{{- if and $scaling.enabled (lt (int $scaling.maxReplicas) (int $scaling.minReplicas)) -}}
{{- $problems = append $problems (printf "services.%s.%s.autoscaling: maxReplicas is less than minReplicas" $name $role) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values cannot be deployed:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}
