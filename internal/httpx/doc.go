// Package httpx fetches files over HTTP, HTTPS and from local paths, and survives
// what mirrors do: it retries with back-off, resumes broken transfers, ends those
// that stall, and says in a typed [Error] what went wrong and what to do.
//
// Everything a client needs is handed to it: proxies and certificate authorities
// come from the site, never from the environment, and TLS checks cannot be turned
// off. Credentials in URLs are used and never printed.
//
//	c, err := httpx.New(httpx.Options{CAs: pems})
//	r, err := c.Get(ctx, httpx.Request{URL: "https://mirror/dists/stable/InRelease"})
//	defer r.Body.Close()
package httpx
