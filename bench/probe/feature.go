package probe

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// Answer is what asking the kernel for a feature may bring.
type Answer uint8

// The three answers.
const (
	CouldNotTell Answer = iota
	Supported
	NotSupported
)

// String returns the answer in words.
func (a Answer) String() string {
	switch a {
	case Supported:
		return "supported"
	case NotSupported:
		return "not supported"
	}
	return "could not tell"
}

// Feature is one thing asked of the running kernel.
type Feature struct {
	Name     string `json:"name"`          // the tracepoint, with its form where that differs
	Since    string `json:"since"`         // kernel version that brought it in this form, "" for all that we know
	Answer   Answer `json:"-"`             //
	Result   string `json:"answer"`        // Answer in words
	Fallback string `json:"fallback"`      // what stands in where it is missing, "" if nothing does
	Err      string `json:"err,omitempty"` // why it could not be told
}

// hook is one place in the kernel with the programs that can stand there,
// best first.
type hook struct {
	name     string
	required bool
	choices  []choice
}

type choice struct {
	tracepoint string
	program    string
	since      string
	argument   string // type that the tracepoint's third argument must point to, "" for any
	with       []hook // what goes with it
}

// tracepoints reads from the kernel's BTF which tracepoints it has and with
// which arguments. No file system needs to be mounted for that, and no
// privilege, since /sys/kernel/btf/vmlinux is open to all.
type tracepoints struct {
	spec *btf.Spec
	err  error
}

func kernelTracepoints() tracepoints {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		err = fmt.Errorf("the kernel's type information (BTF, CONFIG_DEBUG_INFO_BTF): %w", err)
	}
	return tracepoints{spec, err}
}

func (k tracepoints) has(c choice) (Answer, error) {
	if k.err != nil {
		return CouldNotTell, k.err
	}
	var def *btf.Typedef
	err := k.spec.TypeByName("btf_trace_"+c.tracepoint, &def)
	if errors.Is(err, btf.ErrNotFound) {
		return NotSupported, nil
	}
	if err != nil {
		return CouldNotTell, err
	}
	if c.argument != "" && !thirdArgumentIs(def, c.argument) {
		return NotSupported, nil
	}
	return Supported, nil
}

// thirdArgumentIs looks behind the context pointer that comes first in every
// btf_trace type.
func thirdArgumentIs(def *btf.Typedef, name string) bool {
	ptr, ok := def.Type.(*btf.Pointer)
	if !ok {
		return false
	}
	proto, ok := ptr.Target.(*btf.FuncProto)
	if !ok || len(proto.Params) < 4 {
		return false
	}
	arg, ok := proto.Params[3].Type.(*btf.Pointer)
	if !ok {
		return false
	}
	s, ok := arg.Target.(*btf.Struct)
	return ok && s.Name == name
}

// pick returns the first choice of each hook that the kernel has, and what was
// asked: a stand-in only where it is needed. Missing names the required hooks that nothing can fill.
func (k tracepoints) pick(hooks []hook) (picked []choice, asked []Feature, missing []string) {
	for len(hooks) > 0 {
		h := hooks[0]
		hooks = hooks[1:]
		found := false
		for i, c := range h.choices {
			answer, err := k.has(c)
			asked = append(asked, feature(c, h.choices[i+1:], answer, err))
			if answer == Supported {
				found = true
				picked = append(picked, c)
				hooks = slices.Concat(c.with, hooks)
				break
			}
		}
		if !found && h.required {
			missing = append(missing, "tracepoint "+h.name)
		}
	}
	return picked, asked, missing
}

func feature(c choice, rest []choice, a Answer, err error) Feature {
	f := Feature{Name: c.tracepoint, Since: c.since, Answer: a, Result: a.String()}
	if c.argument != "" {
		f.Name += " with " + c.argument
	}
	if len(rest) > 0 {
		f.Fallback = rest[0].tracepoint
	}
	if err != nil {
		f.Err = err.Error()
	}
	return f
}
