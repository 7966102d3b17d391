package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/term"

	"sealbay/appliance/rest"
)

// How qq prints. All of it stands here.
//
//   - An answer is JSON on standard output: keys sorted, four spaces of
//     indent, absent fields left out, no escapes beyond what JSON asks for,
//     one newline at the end. A verb whose answer is a sentence prints it.
//   - An error is one line on standard error, by kind:
//     the node refused:        Error 404: class: description
//     not logged in:           Need to log in first to establish credentials.
//     the node is not there:   Connection error: what, and what to do
//     qq itself failed:        Command error: what
//     the command line is bad: usage, then  qq VERB: error: what
//   - Questions are asked on a terminal only, on standard error.
//   - Key material is never printed; it goes to a file that did not exist.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// ui is where a command reads and prints.
type ui struct {
	in       io.Reader
	out, err io.Writer
}

// json prints v by the rules above.
func (u *ui) json(v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = u.out.Write(b)
	return err
}

// marshal sorts keys by taking the value through maps, which encoding/json
// writes in order; numbers keep their text.
func marshal(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	err = e.Encode(dropNulls(tree))
	return out.Bytes(), err
}

func dropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
			} else {
				v[k] = dropNulls(x)
			}
		}
	case []any:
		for i, x := range v {
			v[i] = dropNulls(x)
		}
	}
	return v
}

// say prints one sentence as an answer.
func (u *ui) say(format string, args ...any) error {
	_, err := fmt.Fprintf(u.out, format+"\n", args...)
	return err
}

// note prints one sentence beside the answer, on standard error.
func (u *ui) note(format string, args ...any) {
	fmt.Fprintf(u.err, format+"\n", args...)
}

// fail prints err by the rules above and returns the exit status.
func (u *ui) fail(err error) int {
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprint(u.err, usage.usage)
		u.note("%s: error: %s", usage.command, usage.text)
		return exitUsage
	}
	if e, ok := errors.AsType[*rest.Error](err); ok {
		if e.Code == 401 {
			u.note("Need to log in first to establish credentials.")
		} else {
			u.note("%v", e)
		}
		return exitError
	}
	if errors.Is(err, rest.ErrConnect) {
		u.note("Connection error: %s", connectionAdvice(err))
		return exitError
	}
	if errors.Is(err, rest.ErrFingerprint) {
		u.note("Connection error: %v; if the node made a new one, log in again with --fingerprint, else somebody stands in between", err)
		return exitError
	}
	u.note("Command error: %v", err)
	return exitError
}

func connectionAdvice(err error) string {
	text := strings.TrimPrefix(err.Error(), rest.ErrConnect.Error()+": ")
	switch {
	case errors.Is(err, syscall.EACCES):
		return text + "; only root and the groups " + rest.AdminGroup + " and " + rest.ReadGroup + " may connect"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return text + "; is sealbayd running? Its socket is named with --socket-path"
	}
	return text
}

// usageError is a command line that qq does not accept.
type usageError struct{ usage, command, text string }

func (e *usageError) Error() string { return e.command + ": error: " + e.text }

// confirm asks the question on a terminal; elsewhere --yes must have been given.
func (u *ui) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !u.terminal() {
		return errors.New("this cannot be undone: confirm with --yes")
	}
	fmt.Fprintf(u.err, "%s (yes/no): ", question)
	line, err := bufio.NewReader(u.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("not confirmed, nothing was done")
	}
	return nil
}

func (u *ui) terminal() bool {
	f, ok := u.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
