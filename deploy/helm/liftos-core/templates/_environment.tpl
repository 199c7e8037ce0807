{{/* Settings without secrets, the same for every process, as a YAML map. */}}
{{- define "liftos-core.settings" -}}
LIFTOS_JWT_ALGORITHM: {{ .Values.auth.algorithm | quote }}
LIFTOS_JWT_ISSUER: {{ .Values.auth.issuer | quote }}
LIFTOS_JWT_AUDIENCE: {{ .Values.auth.audience | quote }}
{{- if eq .Values.auth.algorithm "RS256" }}
LIFTOS_JWT_JWKS_URL: {{ .Values.auth.jwksUrl | quote }}
{{- end }}
LIFTOS_REFLECTION: {{ .Values.settings.reflection | quote }}
LIFTOS_LOG_LEVEL: {{ .Values.settings.logLevel | quote }}
LIFTOS_LOG_FORMAT: {{ .Values.settings.logFormat | quote }}
LIFTOS_DRAIN_SECONDS: {{ .Values.settings.drainSeconds | int | quote }}
LIFTOS_SHUTDOWN_DELAY_SECONDS: {{ .Values.settings.shutdownDelaySeconds | int | quote }}
LIFTOS_MAXIMUM_CONNECTION_AGE_SECONDS: {{ .Values.settings.maximumConnectionAgeSeconds | int | quote }}
LIFTOS_MAXIMUM_CONCURRENT_CALLS: {{ .Values.settings.maximumConcurrentCalls | int | quote }}
LIFTOS_DEFAULT_DEADLINE_SECONDS: {{ .Values.settings.defaultDeadlineSeconds | int | quote }}
LIFTOS_TRACE_SAMPLE_RATIO: {{ .Values.telemetry.traceSampleRatio | quote }}
{{- with .Values.telemetry.otlpEndpoint }}
LIFTOS_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Key of the sealing keys in their Secret. Takes a service's secretKeys. */}}
{{- define "liftos-core.secretKeysKey" -}}
{{ .key | default "secret-keys" }}
{{- end -}}

{{/* One variable from a Secret. Takes {name, secret, key}. */}}
{{- define "liftos-core.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{/* Stores, Core's or a service's own, and the secrets of tokens, of which a service gets those it uses. Takes {root, service, developmentSecret}. */}}
{{- define "liftos-core.secretVariables" -}}
{{- $values := .root.Values -}}
{{- $development := $values.development.enabled -}}
{{- $connections := .service.connections -}}
{{- $own := default dict .service.stores -}}
{{- $developmentSecret := .developmentSecret -}}
{{- range $store, $values := dict "postgres" $values.postgres "redis" $values.redis }}
{{- if has $store $connections }}
{{- $secret := $values.existingSecret }}
{{- $key := $values.urlKey }}
{{- if $own }}
{{- $secret = $own.existingSecret }}
{{- else if $development }}
{{- $secret = $developmentSecret }}
{{- $key = printf "%s-url" $store }}
{{- end }}
{{ include "liftos-core.secretVariable" (dict "name" (printf "LIFTOS_%s_URL" (upper $store)) "secret" $secret "key" $key) }}
{{- end }}
{{- end }}
{{- if has "milvus" .service.connections }}
{{- if $values.milvus.existingSecret }}
{{ include "liftos-core.secretVariable" (dict "name" "LIFTOS_MILVUS_URL"
  "secret" $values.milvus.existingSecret "key" $values.milvus.urlKey) }}
{{- else }}
- {name: LIFTOS_MILVUS_URL, value: {{ $values.milvus.url | quote }}}
{{- end }}
{{- end }}
{{- if eq $values.auth.algorithm "HS256" }}
{{ include "liftos-core.secretVariable" (dict "name" "LIFTOS_JWT_SECRET"
  "secret" (ternary .developmentSecret $values.auth.existingSecret $development)
  "key" (ternary "jwt-secret" $values.auth.secretKey $development)) }}
{{- else }}
{{ include "liftos-core.secretVariable" (dict "name" "LIFTOS_PAGE_TOKEN_SECRET"
  "secret" $values.auth.existingSecret "key" $values.auth.pageTokenSecretKey) }}
{{- end }}
{{- end -}}

{{/*
What a service is told beside the settings of all: its own settings by their names, variables from Secrets, where the services answer
that it calls, and the files that `liftos-core.volumeMounts` mounts. Takes {root, service}.
*/}}
{{- define "liftos-core.serviceVariables" -}}
{{- $values := .root.Values -}}
{{- range $name, $value := .service.settings }}
{{- /* Numbers of a values file are floats, of which a large one would be written as 6.7e+07. */}}
{{- $plain := and (kindIs "float64" $value) (eq $value (floor $value)) }}
- {name: LIFTOS_{{ $name | snakecase | upper }}, value: {{ ternary ($value | int64) $value $plain | quote }}}
{{- end }}
{{- with .service.modelKeys }}
{{- $secret := .existingSecret }}
{{- range $variable, $key := dict "LIFTOS_EMBEDDER_API_KEY" .embedderKey "LIFTOS_INSIGHT_WORDING_API_KEY" .insightWordingKey }}
{{- if $key }}
{{ include "liftos-core.secretVariable" (dict "name" $variable "secret" $secret "key" $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- range .service.secretVariables }}
{{ include "liftos-core.secretVariable" (dict "name" .name "secret" .existingSecret "key" .key) }}
{{- end }}
{{- $connections := .service.connections }}
{{- $root := .root }}
{{- range $called := list "memory" "ingestion" }}
{{- if has $called $connections }}
- {name: LIFTOS_{{ upper $called }}_ADDRESS, value: "{{ include "liftos-core.fullname" $root }}-{{ $called }}-headless.{{ $root.Release.Namespace }}:{{ int (index $values.services $called).port }}"}
{{- end }}
{{- end }}
{{- if and (has "causal-core" $connections) (index $values.services "causal-core").enabled }}
- {name: LIFTOS_CAUSAL_ADDRESS, value: "{{ include "liftos-core.fullname" $root }}-causal-core-headless.{{ $root.Release.Namespace }}:{{ int (index $values.services "causal-core").port }}"}
{{- end }}
{{- if has "memory" $connections }}
{{- if $values.tls.enabled }}
- {name: LIFTOS_MEMORY_CA_FILE, value: /etc/liftos/tls/{{ $values.tls.caKey }}}
{{- if $values.tls.clientCa.enabled }}
- {name: LIFTOS_MEMORY_CERTIFICATE_FILE, value: /etc/liftos/tls/{{ $values.tls.certificateKey }}}
- {name: LIFTOS_MEMORY_KEY_FILE, value: /etc/liftos/tls/{{ $values.tls.privateKeyKey }}}
{{- end }}
{{- end }}
{{- end }}
{{- with .service.secretKeys }}
- {name: LIFTOS_SECRET_KEYS_FILE, value: /etc/liftos/secret-keys/{{ include "liftos-core.secretKeysKey" . }}}
{{- end }}
{{- if and .service.serviceKey (eq $values.auth.algorithm "RS256") }}
- {name: LIFTOS_SERVICE_KEY_FILE, value: /etc/liftos/service-key/{{ .service.serviceKey.key }}}
{{- with .service.serviceKey.id }}
- {name: LIFTOS_SERVICE_KEY_ID, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- if .service.credentialFiles }}
- {name: LIFTOS_SECRETS_DIRECTORY, value: /etc/liftos/credentials}
{{- end }}
{{- with .service.sourceFiles }}
{{- if .existingClaim }}
- {name: LIFTOS_SOURCE_FILES_DIRECTORY, value: /etc/liftos/source-files}
{{- end }}
{{- end }}
{{- with .service.snapshots }}
{{- if .existingClaim }}
- {name: LIFTOS_SNAPSHOT_DIRECTORY, value: /var/lib/liftos/snapshots}
{{- end }}
{{- end }}
{{- end -}}

{{/* Identity of a process in traces, metrics and logs. Takes {root, name}. */}}
{{- define "liftos-core.telemetryVariables" -}}
- name: OTEL_SERVICE_NAME
  value: {{ .name }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: service.namespace=liftos,service.version={{ .root.Chart.AppVersion }},k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE),k8s.node.name=$(NODE_NAME)
{{- end -}}

{{/* Paths of the mounted certificate, where TLS is on. */}}
{{- define "liftos-core.tlsVariables" -}}
{{- if .Values.tls.enabled }}
- name: LIFTOS_TLS_CERTIFICATE_FILE
  value: /etc/liftos/tls/{{ .Values.tls.certificateKey }}
- name: LIFTOS_TLS_KEY_FILE
  value: /etc/liftos/tls/{{ .Values.tls.privateKeyKey }}
{{- if .Values.tls.clientCa.enabled }}
- name: LIFTOS_TLS_CLIENT_CA_FILE
  value: /etc/liftos/tls/{{ .Values.tls.clientCa.key }}
{{- end }}
{{- end }}
{{- end -}}
