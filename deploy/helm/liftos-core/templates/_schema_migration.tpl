{{/* Pod of one service's schema migration. Takes {root, name, service, scope, support}. */}}
{{- define "liftos-core.schemaMigrationPod" -}}
{{- $values := .root.Values -}}
{{- $development := $values.development.enabled -}}
{{- $secret := default $values.postgres.existingSecret $values.postgres.ownerExistingSecret -}}
{{- $key := $values.postgres.ownerUrlKey -}}
{{- if .service.stores -}}
{{- $secret = .service.stores.existingSecret -}}
{{- else if $development -}}
{{- $secret = .support -}}
{{- $key = "postgres-owner-url" -}}
{{- end -}}
metadata:
  labels:
    {{- include "liftos-core.labels" .scope | nindent 4 }}
spec:
  serviceAccountName: {{ .support }}
  {{- include "liftos-core.podBasics" .root | nindent 2 }}
  restartPolicy: Never
  containers:
    - name: migrate
      {{- include "liftos-core.containerBasics" .root | nindent 6 }}
      command: [python, -m, {{ include "liftos-core.program" . }}, migrate]
      env:
        {{- /* The release's ConfigMap may not exist yet, so that the settings are written out. */}}
        {{- range $key, $value := include "liftos-core.settings" .root | fromYaml }}
        - {name: {{ $key }}, value: {{ $value | quote }}}
        {{- end }}
        {{- include "liftos-core.secretVariables" (dict "root" .root "service" .service "developmentSecret" .support) | trim | nindent 8 }}
        {{- include "liftos-core.secretVariable" (dict "name" "LIFTOS_POSTGRES_OWNER_URL" "secret" $secret "key" $key) | nindent 8 }}
        {{- include "liftos-core.telemetryVariables" (dict "root" .root "name" (printf "liftos-%s-migrate" .name)) | nindent 8 }}
      resources:
        {{- toYaml $values.schemaMigration.resources | nindent 8 }}
      volumeMounts:
        {{- include "liftos-core.volumeMounts" (dict "root" .root "tls" false "service" dict) | nindent 8 }}
  volumes:
    {{- include "liftos-core.volumes" (dict "root" .root "tls" false "service" dict) | nindent 4 }}
{{- end -}}
