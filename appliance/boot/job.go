package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// jobDir holds the jobs, NAME.job: commands, one a line, words separated by
// blanks or quoted as Go strings, '#' starting a comment line. They run in
// order; the first that fails ends the job. Besides programs there are
//
//	wait-for PATH...   waits until all exist, a minute at most
//	put FILE...        hands files to the host that started this machine
//	cd FOLDER          where the commands after it run
//	set NAME VALUE     in the environment of the commands after it
const jobDir = "/etc/sealbay"

const deviceWait = time.Minute

// job runs the job that the kernel command line names, and returns the exit
// code of the command that ended it.
func (b *booting) job() (int, error) {
	name := b.params.job
	if name == "" || filepath.Base(name) != name {
		return exitBroken, fmt.Errorf("kernel command line: sealbay.job=%q names no job; there are: %s", name, strings.Join(jobNames(), " "))
	}
	text, err := os.ReadFile(filepath.Join(jobDir, name+".job"))
	if err != nil {
		return exitBroken, fmt.Errorf("kernel command line: sealbay.job=%s: no such job; there are: %s", name, strings.Join(jobNames(), " "))
	}
	commands, err := parseJob(string(text))
	if err != nil {
		return exitBroken, fmt.Errorf("job %s: %w", name, err)
	}
	for n, words := range commands {
		code, err := b.command(words)
		if err != nil {
			return max(code, 1), fmt.Errorf("job %s, command %d (%s): %w", name, n+1, strings.Join(words, " "), err)
		}
	}
	b.say("job %s is done", name)
	return 0, nil
}

func jobNames() []string {
	files, _ := filepath.Glob(jobDir + "/*.job") // the pattern is good
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".job")
	}
	return files
}

func parseJob(text string) ([][]string, error) {
	var commands [][]string
	for n, line := range strings.Split(text, "\n") {
		words, err := parseWords(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		if len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			commands = append(commands, words)
		}
	}
	return commands, nil
}

func parseWords(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] != '"' {
			word := strings.Fields(line)[0]
			words, line = append(words, word), line[len(word):]
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, errors.New("a quote is not closed")
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		words, line = append(words, word), line[len(quoted):]
	}
	return words, nil
}

// command runs one line; an error also where its exit code is not 0.
func (b *booting) command(words []string) (int, error) {
	name, args := words[0], words[1:]
	switch {
	case name == "wait-for":
		return 1, waitFor(args, deviceWait)
	case name == "put":
		return 1, b.put(args)
	case name == "cd" && len(args) == 1:
		return 1, os.Chdir(args[0])
	case name == "set" && len(args) == 2:
		return 1, os.Setenv(args[0], args[1])
	}
	return b.program(words)
}

func (b *booting) program(words []string) (int, error) {
	path, err := exec.LookPath(words[0])
	if err != nil {
		return exitBroken, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return exitBroken, err
	}
	defer null.Close()
	b.say("running %s", strings.Join(words, " "))
	code, err := b.children.run(path, words, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{null, os.Stdout, os.Stderr}})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit status %d", code)
	}
	return code, err
}

// waitFor waits until all paths exist.
func waitFor(paths []string, limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		var missing []string
		for _, path := range paths {
			if _, err := os.Stat(path); err != nil {
				missing = append(missing, path)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not appear within %v", strings.Join(missing, ", "), limit)
		}
	}
}

// put hands files to the host.
func (b *booting) put(paths []string) error {
	if b.host == nil {
		return errors.New("no host listens (no virtio port " + hostPortName + ")")
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := b.host.put(filepath.Base(path), data); err != nil {
			return err
		}
	}
	return nil
}

// report tells the host how the job ended.
func (b *booting) report(code int) {
	if b.host == nil {
		return
	}
	if err := b.host.finish(code); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		b.say("telling the host: %v", err)
	}
}
