{{/* Egress rules by name of networkPolicy.egress, or to the Memory of this release. Takes {root, names}. */}}
{{- define "liftos-core.egress" -}}
{{- $root := .root -}}
{{- range $name := .names }}
{{- if eq $name "memory" }}
- ports:
    - {port: {{ int $root.Values.services.memory.port }}, protocol: TCP}
  to:
    - podSelector:
        matchLabels:
          {{- include "liftos-core.selectorLabels" (dict "root" $root "component" "memory-server") | nindent 10 }}
{{- else }}
{{- $rule := index $root.Values.networkPolicy.egress $name }}
- ports:
    {{- range $rule.ports }}
    - {port: {{ int . }}, protocol: TCP}
    {{- if eq $name "dns" }}
    - {port: {{ int . }}, protocol: UDP}
    {{- end }}
    {{- end }}
  {{- with $rule.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The pods of this release that call Memory, as peers of a rule. Takes root. */}}
{{- define "liftos-core.callersOfMemory" -}}
{{- range $name, $service := .Values.services }}
{{- if and $service.enabled (has "memory" $service.connections) }}
{{- range $role := list "server" "worker" }}
- podSelector:
    matchLabels:
      {{- include "liftos-core.selectorLabels" (dict "root" $ "component" (printf "%s-%s" $name $role)) | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
