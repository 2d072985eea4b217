module headrace/pod-security

go 1.26.0

require (
	k8s.io/api v0.36.4
	k8s.io/apimachinery v0.36.4
	k8s.io/pod-security-admission v0.36.4
	sigs.k8s.io/json v0.0.0-20250730193827-2d320260d730
)
