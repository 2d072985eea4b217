// Says of pods what an API server would warn of where a namespace warns at level `restricted` of Pod Security, version
// `latest`.
//
// A line of the input is a pod as JSON; its line of the output has the name it was given and, under `warnings`, the text
// that goes into a server's Warning header: none where the pod is of that level. Pods are judged by
// k8s.io/pod-security-admission, which servers themselves are built with. What is no pod, or has a field that no pod has
// or the same one twice, ends the program: nothing is judged by less than it says.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	strictjson "sigs.k8s.io/json"
)

type judged struct {
	Name     string   `json:"name"`
	Warnings []string `json:"warnings"`
}

func main() {
	if err := judge(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func judge(pods io.Reader, told io.Writer) error {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	lines, out := bufio.NewReader(pods), json.NewEncoder(told)
	out.SetEscapeHTML(false)
	for number := 1; ; number++ {
		line, end := lines.ReadBytes('\n')
		if end != nil && len(line) == 0 {
			if errors.Is(end, io.EOF) {
				return nil
			}
			return end
		}
		pod, err := read(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if err := out.Encode(judged{pod.Name, warnings(evaluator, pod)}); err != nil {
			return err
		}
	}
}

func read(line []byte) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	strict, err := strictjson.UnmarshalStrict(line, pod)
	if err := errors.Join(append(strict, err)...); err != nil {
		return nil, err
	}
	if pod.Kind != "Pod" || pod.APIVersion != "v1" {
		return nil, fmt.Errorf("a Pod of v1 was needed, was %q of %q", pod.Kind, pod.APIVersion)
	}
	return pod, nil
}

// warnings has the words of the server's admission, whose own package needs the whole of a server.
func warnings(evaluator policy.Evaluator, pod *corev1.Pod) []string {
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	found := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
	if found.Allowed {
		return []string{}
	}
	return []string{fmt.Sprintf("would violate PodSecurity %q: %s", level.String(), found.ForbiddenDetail())}
}
