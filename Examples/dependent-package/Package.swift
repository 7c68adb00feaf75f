// swift-tools-version: 6.1
import PackageDescription

// A package that depends on Graft by version. scripts/check-dependency puts the address of a clone of
// this checkout in place of the one below, and builds and runs the program.
let package = Package(
  name: "dependent-package",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(url: "https://example.org/graft.git", from: "0.1.0")
  ],
  targets: [
    .executableTarget(
      name: "LoRAForward", dependencies: [.product(name: "Graft", package: "graft")])
  ]
)
