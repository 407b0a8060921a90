// Package gitlabtest is a GitLab inside the test process, as far as its package
// registry goes: generic packages and the packages API, with a log of requests and
// faults to order. It holds to what GitLab documents and does, so that a client
// that passes here meets no surprise there:
//
//   - Publishing and downloading: "GitLab generic packages repository"
//     (docs.gitlab.com/user/packages/generic_packages), sections "Authenticate to
//     the package registry", "Publish a single file", "Verify file integrity with
//     checksums", "Disable publishing duplicate package names", "Valid package
//     filename format", and lib/api/generic_packages.rb for the order of checks and
//     the words of errors.
//   - Listing and deleting: "Packages API" (docs.gitlab.com/api/packages),
//     lib/api/project_packages.rb, lib/api/package_files.rb; pages as in "REST API",
//     section "Offset-based pagination".
//   - Who may do what: job and personal tokens everywhere, deploy tokens only at
//     packages/generic (route_setting deploy_token_allowed in those files).
//   - Statuses: app/models/packages/package.rb. A hidden package is listed only when
//     asked for by status, and is downloaded as any other.
package gitlabtest
