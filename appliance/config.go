package appliance

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"

	"sealbay/appliance/rest"
)

// Config shapes a Node.
type Config struct {
	StateDir    string   // the folder on the boot drive
	Drives      []string // patterns of paths (filepath.Match) where data drives may be
	Socket      string   // of the control interface
	Listen      string   // address for remote clients over TLS; empty: none
	FormatBlank bool     // format every blank drive found at start
	Log         *slog.Logger
}

// Defaults of the command line.
const (
	DefaultState  = "/perm"
	DefaultDrives = "/dev/sd*,/dev/vd*,/dev/nvme*n*"
)

// ParseFlags reads sealbayd's command line. Bad usage is explained on stderr.
func ParseFlags(args []string, stderr io.Writer) (c Config, once bool, err error) {
	f := flag.NewFlagSet("sealbayd", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.StateDir, "state", DefaultState, "`folder` for keys and configuration; made if it is not there")
	drives := f.String("drives", DefaultDrives, "comma-separated `patterns` of files or block devices that may be data drives")
	f.StringVar(&c.Socket, "socket", rest.DefaultSocket, "Unix `socket` to serve")
	f.StringVar(&c.Listen, "listen", "", "`address` (:8000) for remote clients over TLS, let in by tokens; none if empty")
	f.BoolVar(&c.FormatBlank, "format-blank", false, "format every drive that is blank at start")
	f.BoolVar(&once, "once", false, "bring the drives up, print them and exit: 0 if all is well")
	if err := f.Parse(args); err != nil {
		return c, once, err
	}
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "sealbayd: unexpected argument %q\n", f.Arg(0))
		return c, once, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	for p := range strings.SplitSeq(*drives, ",") {
		if p = strings.TrimSpace(p); p != "" {
			c.Drives = append(c.Drives, p)
		}
	}
	level := slog.LevelInfo
	if once { // the table says it
		level = slog.LevelWarn
	}
	c.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return c, once, nil
}

// version describes this build.
func version() rest.Version {
	v := rest.Version{Version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version, v.Go = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	return v
}
