{{/* What every pod of this chart has in common: nothing more than the restricted profile allows. Takes root. */}}
{{- define "liftos-core.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What every container of this chart has in common. Takes root. */}}
{{- define "liftos-core.containerBasics" -}}
image: {{ include "liftos-core.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where a container may write, its certificate, and the files of its service. Takes {root, tls, service}. */}}
{{- define "liftos-core.volumeMounts" -}}
- {name: temporary, mountPath: /tmp}
{{- if .tls }}
- {name: tls, mountPath: /etc/liftos/tls, readOnly: true}
{{- end }}
{{- if .service.secretKeys }}
- {name: secret-keys, mountPath: /etc/liftos/secret-keys, readOnly: true}
{{- end }}
{{- if and .service.serviceKey (eq .root.Values.auth.algorithm "RS256") }}
- {name: service-key, mountPath: /etc/liftos/service-key, readOnly: true}
{{- end }}
{{- range $index, $file := .service.credentialFiles }}
- {name: credentials-{{ $index }}, mountPath: /etc/liftos/credentials/{{ $file.org }}, readOnly: true}
{{- end }}
{{- with .service.sourceFiles }}
{{- if .existingClaim }}
- {name: source-files, mountPath: /etc/liftos/source-files, readOnly: true}
{{- end }}
{{- end }}
{{- with .service.snapshots }}
{{- if .existingClaim }}
- {name: snapshots, mountPath: /var/lib/liftos/snapshots}
{{- end }}
{{- end }}
{{- end -}}

{{- define "liftos-core.volumes" -}}
- name: temporary
  emptyDir: {sizeLimit: 512Mi}
{{- if .tls }}
- name: tls
  secret:
    secretName: {{ .root.Values.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- with .service.secretKeys }}
- name: secret-keys
  secret:
    secretName: {{ ternary (printf "%s-development" (include "liftos-core.fullname" $.root)) .existingSecret $.root.Values.development.enabled }}
    defaultMode: 0440
    items: [{key: {{ include "liftos-core.secretKeysKey" . }}, path: {{ include "liftos-core.secretKeysKey" . }}}]
{{- end }}
{{- if and .service.serviceKey (eq .root.Values.auth.algorithm "RS256") }}
- name: service-key
  secret:
    secretName: {{ .service.serviceKey.existingSecret }}
    defaultMode: 0440
    items: [{key: {{ .service.serviceKey.key }}, path: {{ .service.serviceKey.key }}}]
{{- end }}
{{- range $index, $file := .service.credentialFiles }}
- name: credentials-{{ $index }}
  secret:
    secretName: {{ $file.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- with .service.sourceFiles }}
{{- if .existingClaim }}
- name: source-files
  persistentVolumeClaim:
    claimName: {{ .existingClaim }}
    readOnly: true
{{- end }}
{{- end }}
{{- with .service.snapshots }}
{{- if .existingClaim }}
- name: snapshots
  persistentVolumeClaim:
    claimName: {{ .existingClaim }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
The action of a gRPC server's probe. The kubelet's own gRPC probe speaks plaintext, so that under TLS the image's
health check asks instead. Takes {root, port, service}.
*/}}
{{- define "liftos-core.grpcProbe" -}}
{{- if .root.Values.tls.enabled -}}
exec:
  command: [python, /app/healthcheck.py, --service, {{ .service | quote }}]
{{- else -}}
grpc:
  port: {{ .port }}
  service: {{ .service | quote }}
{{- end }}
timeoutSeconds: 5
{{- end -}}

{{- define "liftos-core.serverProbes" -}}
{{- $process := dict "root" .root "port" .port "service" "" -}}
{{- $ready := dict "root" .root "port" .port "service" .readinessService -}}
startupProbe:
  {{- include "liftos-core.grpcProbe" $process | nindent 2 }}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  {{- include "liftos-core.grpcProbe" $process | nindent 2 }}
  periodSeconds: 15
  failureThreshold: 4
readinessProbe:
  {{- include "liftos-core.grpcProbe" $ready | nindent 2 }}
  periodSeconds: {{ ternary 10 5 .root.Values.tls.enabled }}
  failureThreshold: 2
{{- end -}}

{{/* A worker takes no calls: it is alive while it serves its metrics. */}}
{{- define "liftos-core.workerProbes" -}}
startupProbe:
  httpGet: {path: /metrics, port: metrics}
  timeoutSeconds: 5
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /metrics, port: metrics}
  timeoutSeconds: 5
  periodSeconds: 15
  failureThreshold: 4
{{- end -}}
