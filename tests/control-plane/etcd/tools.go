//go:build tools

// Package etcd only pins what the etcd server is built from: 3.5 is the last line that serves the v2 and the v3 API.
package etcd

import _ "go.etcd.io/etcd/server/v3"
