// Package appliance is what runs on a Sealbay node.
//
// A Node finds its data drives, gets the master key from its key store, opens
// the drives, keeps watch over both and answers the control interface. It
// never stops I/O because of its key store, never formats what is not blank,
// and never falls back to plaintext.
package appliance

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"sealbay/appliance/internal/audit"
	"sealbay/appliance/internal/uevent"
	"sealbay/appliance/rest"
)

// Node is the daemon: its subsystems, in the order in which they start.
type Node struct {
	cfg        Config
	log        *slog.Logger
	state      *state       // the folder on the boot drive
	audit      *audit.Log   // who did what
	keys       *keys        // the key store, and the master key in memory
	drives     *table       // what is attached, known and open
	phase      phase        // sealed, unlocking, open, rotating, degraded
	rehearsals *rehearsals  // would every drive open after a restart?
	tokens     *tokens      // of remote clients
	probes     *probes      // of block devices' latency
	server     *rest.Server // the control interface

	kick chan struct{} // look at the drives now
}

// New opens the node's state. It touches no drive and no network.
func New(cfg Config) (*Node, error) {
	if err := hardenProcess(); err != nil {
		return nil, err
	}
	s, err := openState(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: cfg.Log, state: s, kick: make(chan struct{}, 1), rehearsals: newRehearsals(), probes: newProbes(cfg.Log)}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return n, nil
}

func (n *Node) open() (err error) {
	if n.audit, err = audit.Open(n.state.folder.Path(auditFile)); err != nil {
		return err
	}
	if n.keys, err = openKeys(n.state, n.log, n.look); err != nil {
		return errors.Join(err, n.audit.Close())
	}
	if n.drives, err = loadTable(n.state, n.cfg.Drives, n.log); err != nil {
		return errors.Join(err, n.keys.close(), n.audit.Close())
	}
	n.drives.changed = n.rehearsals.changed
	if n.tokens, err = loadTokens(n.state); err == nil {
		err = n.loadDrill()
	}
	if err != nil {
		return errors.Join(err, n.drives.close(), n.keys.close(), n.audit.Close())
	}
	n.server = rest.NewServer(n, n.audit, n.log)
	n.server.Tokens = n.tokens
	return nil
}

// Run brings the node up and serves until ctx ends.
func (n *Node) Run(ctx context.Context) error {
	listeners, err := n.listen()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, work := range []func(context.Context){n.watch, n.hotPlug, n.rehearse} {
		wg.Go(func() { work(ctx) })
	}
	served := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { served <- n.server.Serve(l, l.secure) }()
	}
	n.log.Info("serving", "socket", n.cfg.Socket)
	select {
	case err = <-served:
		err = errors.Join(err, n.stopServing(served, len(listeners)-1))
	case <-ctx.Done():
		err = n.stopServing(served, len(listeners))
	}
	cancel()
	wg.Wait()
	return err
}

// listener is a socket to serve, and how it is secured if it is on the network.
type listener struct {
	net.Listener
	secure *tls.Config
}

// listen opens the Unix socket and, if asked to, the port for remote clients.
func (n *Node) listen() ([]listener, error) {
	unix, notes, err := rest.Listen(n.cfg.Socket)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		n.log.Warn(note)
	}
	if n.cfg.Listen == "" {
		return []listener{{unix, nil}}, nil
	}
	remote, err := n.listenTLS(n.cfg.Listen)
	if err != nil {
		return nil, errors.Join(err, unix.Close(), os.Remove(n.cfg.Socket))
	}
	return []listener{{unix, nil}, remote}, nil
}

// stopServing lets requests under way finish: a rotation is not cut.
func (n *Node) stopServing(served chan error, left int) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := n.server.Shutdown(ctx)
	for range left {
		err = errors.Join(err, <-served)
	}
	if rm := os.Remove(n.cfg.Socket); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// Close ends the probes, closes the drives, wipes the keys and gives the state
// folder back.
func (n *Node) Close() error {
	n.probes.close()
	return errors.Join(n.drives.close(), n.keys.close(), n.audit.Close(), n.state.close())
}

const (
	stopTimeout = time.Minute
	// rescan is how often the node looks at its drives unasked: files and
	// attributes that no event tells of.
	rescan = 5 * time.Second
)

// watch brings drives up at start, when they come, and when a key is had at
// last.
func (n *Node) watch(ctx context.Context) {
	said := ""
	for first := true; ; first = false {
		err := n.bringUp(ctx, first && n.cfg.FormatBlank)
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error() // once, not every few seconds
			n.log.Warn("not every drive is up", "error", err)
		}
		n.State() // so that "since" is when it began and not when somebody asked
		select {
		case <-ctx.Done():
			return
		case <-n.kick:
		case <-time.After(rescan):
		}
	}
}

// hotPlug looks at the drives whenever the kernel says that one came or went.
func (n *Node) hotPlug(ctx context.Context) {
	s, err := uevent.Listen()
	if err == nil {
		err = s.Receive(ctx, func(e uevent.Event) {
			if e.Subsystem == "block" || e.Action == uevent.Lost {
				n.look()
			}
		})
	}
	if err != nil {
		n.log.Warn("drives that come and go are only noticed every few seconds", "interval", rescan, "error", err)
	}
}

// look has the drives looked at soon.
func (n *Node) look() {
	select {
	case n.kick <- struct{}{}:
	default: // it is about to happen anyway
	}
}
