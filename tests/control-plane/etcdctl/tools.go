//go:build tools

// Package etcdctl only pins what the client of etcd is built from: 3.5 is the last line that speaks the v2 API.
package etcdctl

import _ "go.etcd.io/etcd/etcdctl/v3"
