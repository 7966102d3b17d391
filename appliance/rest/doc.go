// Package rest is the control interface of a node: the types that travel, the
// client that qq uses and the server that the daemon runs, over a Unix socket.
//
// Bodies are JSON both ways. Who asks is told by the kernel (SO_PEERCRED) and
// never by the request. Every write verb is written to the audit log before
// it is carried out and again with its outcome; when the audit log cannot be
// written, the verb is refused. The package knows no keys and no drives: it
// hands requests to a Node.
package rest
