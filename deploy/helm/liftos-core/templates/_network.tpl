{{/* Egress rules by name of networkPolicy.egress, or to a server of this release. Takes {root, names}. */}}
{{- define "liftos-core.egress" -}}
{{- $root := .root -}}
{{- range $name := .names }}
{{- $server := index $root.Values.services $name }}
{{- if and $server (not $server.enabled) }}
{{- else if $server }}
- ports:
    - {port: {{ int $server.port }}, protocol: TCP}
  to:
    - podSelector:
        matchLabels:
          {{- include "liftos-core.selectorLabels" (dict "root" $root "component" (printf "%s-server" $name)) | nindent 10 }}
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

{{/* The pods of this release that call one of its services, as peers of a rule. Takes {root, called}. */}}
{{- define "liftos-core.callers" -}}
{{- $root := .root -}}
{{- $called := .called -}}
{{- range $name, $service := .root.Values.services }}
{{- if and $service.enabled (has $called $service.connections) }}
{{- range $role := list "server" "worker" }}
- podSelector:
    matchLabels:
      {{- include "liftos-core.selectorLabels" (dict "root" $root "component" (printf "%s-%s" $name $role)) | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
