{{/* Egress rules by name of networkPolicy.egress. Takes {root, names}. */}}
{{- define "liftos-core.egress" -}}
{{- $root := .root -}}
{{- range $name := .names }}
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
{{- end -}}
