// Says of objects what an API server of today would: of each, the fields that its kind does not have; of pods also what
// it would warn of where a namespace warns at level `restricted` of Pod Security, version `latest`.
//
// A line of the input is an object of one of Kubernetes' own kinds as JSON. Its line of the output has `faults`, fields
// that are unknown, said twice or of another type, and `warnings`, the text that goes into a server's Warning header.
// Pods are judged by k8s.io/pod-security-admission, kinds are those of k8s.io/api: servers are built with both.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	strictjson "sigs.k8s.io/json"
)

type said struct {
	Faults   []string `json:"faults"`
	Warnings []string `json:"warnings"`
}

var known = runtime.NewScheme()

func init() {
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme,
		networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme,
	} {
		utilruntime.Must(add(known))
	}
}

func main() {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	utilruntime.Must(err)
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		line, end := in.ReadBytes('\n')
		if len(line) > 0 {
			utilruntime.Must(out.Encode(judged(evaluator, line)))
		}
		if end == io.EOF {
			return
		}
		utilruntime.Must(end)
	}
}

func judged(evaluator policy.Evaluator, line []byte) said {
	of, faults := read(line)
	if pod, is := of.(*corev1.Pod); is {
		return said{faults, warnings(evaluator, pod)}
	}
	return said{faults, []string{}}
}

func read(line []byte) (runtime.Object, []string) {
	var kind metav1.TypeMeta
	if err := json.Unmarshal(line, &kind); err != nil {
		return nil, []string{err.Error()}
	}
	of, err := known.New(kind.GroupVersionKind())
	if err != nil {
		return nil, []string{err.Error()}
	}
	strict, err := strictjson.UnmarshalStrict(line, of)
	if err != nil {
		return nil, []string{err.Error()}
	}
	faults := []string{}
	for _, each := range strict {
		faults = append(faults, each.Error())
	}
	return of, faults
}

// warnings are put in words as the server's admission does, whose own package would need the most of a server.
func warnings(evaluator policy.Evaluator, pod *corev1.Pod) []string {
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	found := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
	if found.Allowed {
		return []string{}
	}
	return []string{fmt.Sprintf("would violate PodSecurity %q: %s", level.String(), found.ForbiddenDetail())}
}
