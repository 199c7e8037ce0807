{{/* Settings without secrets, the same for every process, as a YAML map. */}}
{{- define "liftos-core.settings" -}}
{{- if not .Values.milvus.existingSecret }}
LIFTOS_MILVUS_URL: {{ .Values.milvus.url | quote }}
{{- end }}
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

{{/* One variable from a Secret. Takes {name, secret, key}. */}}
{{- define "liftos-core.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{/* Secrets that every process reads. Takes {root, developmentSecret}. */}}
{{- define "liftos-core.secretVariables" -}}
{{- $values := .root.Values -}}
{{- $development := $values.development.enabled -}}
{{ include "liftos-core.secretVariable" (dict "name" "LIFTOS_POSTGRES_URL"
  "secret" (ternary .developmentSecret $values.postgres.existingSecret $development)
  "key" (ternary "postgres-url" $values.postgres.urlKey $development)) }}
{{ include "liftos-core.secretVariable" (dict "name" "LIFTOS_REDIS_URL"
  "secret" (ternary .developmentSecret $values.redis.existingSecret $development)
  "key" (ternary "redis-url" $values.redis.urlKey $development)) }}
{{- with $values.milvus.existingSecret }}
{{ include "liftos-core.secretVariable" (dict "name" "LIFTOS_MILVUS_URL" "secret" . "key" $values.milvus.urlKey) }}
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
