{{/* Prefix of every object's name, short enough for the longest suffix. */}}
{{- define "liftos-core.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select a component's pods. Takes {root, component}. */}}
{{- define "liftos-core.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* All labels of a component's objects. Takes {root, component}. */}}
{{- define "liftos-core.labels" -}}
{{ include "liftos-core.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: liftos
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "liftos-core.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The Python module that a service runs. Takes {name, service}. */}}
{{- define "liftos-core.program" -}}
{{ .service.program | default (printf "liftos_%s" .name) }}
{{- end -}}

{{/* A workload's values: the defaults with the service's own on top. Takes {root, service, role}. */}}
{{- define "liftos-core.workload" -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (index .service .role)) | toJson -}}
{{- end -}}
