/// The place of this process among those of a run, as whoever started it says by variables.
public struct World: Equatable, Sendable {
  /// Who started the processes.
  public enum Source: String, Sendable {
    case torchrun
    case slurm = "Slurm"
    case openMPI = "Open MPI"
    case mpich = "MPICH"
  }

  /// Who says so.
  public var source: Source
  /// Number of this process, from 0.
  public var rank: Int
  /// Processes of the run.
  public var size: Int
  /// Number of this process on its machine, from 0.
  public var localRank: Int
  /// Processes on this machine.
  public var localSize: Int
  /// Where the processes meet.
  public var host: String
  /// The port there.
  public var port: Int
  /// Whether rank 0 opens the store; otherwise a launcher has done so.
  public var opensStore: Bool
  /// How often the launcher has started the processes anew.
  public var attempt = 0
  /// What the launcher calls the run.
  public var runID = ""

  /// Makes a description of processes on one machine.
  ///
  /// - Parameters:
  ///   - rank: Number of this process, from 0.
  ///   - size: Processes of the run.
  ///   - port: Where they meet on this machine.
  ///   - opensStore: Whether rank 0 opens the store there.
  public init(rank: Int, of size: Int, port: Int, opensStore: Bool = true) {
    source = .torchrun
    (self.rank, self.size, localRank, localSize) = (rank, size, rank, size)
    (host, self.port, self.opensStore) = ("127.0.0.1", port, opensStore)
  }

  /// Reads the variables of torchrun, which `graft launch` sets too, of Slurm's `srun`, and of the
  /// `mpirun` of Open MPI or MPICH, the first of them that is there.
  ///
  /// With Slurm the processes meet at the first machine of the step, at a port that follows from the
  /// job's number; with MPI at `MASTER_ADDR`, or on this machine when all processes are here.
  /// `MASTER_ADDR` and `MASTER_PORT` win over both.
  ///
  /// - Parameter variables: The environment.
  /// - Returns: The place, or nil where nothing asks for more than one process.
  /// - Throws: ``CollectiveError/environment(_:)`` when variables ask for several processes but do not
  ///   say everything, or what they say cannot be.
  public static func detect(
    _ variables: [String: String]
  ) throws(CollectiveError) -> World? {
    let reader = VariableReader(variables)
    var found = try torchrun(reader)
    if found == nil { found = try slurm(reader) }
    if found == nil { found = try mpi(reader) }
    guard let world = found else { return nil }
    guard world.size >= 1, 0..<world.size ~= world.rank else {
      throw .environment(
        "\(world.source.rawValue) says rank \(world.rank) of \(world.size) processes: ranks are 0 to "
          + "one less than their number")
    }
    guard 1...world.size ~= world.localSize, 0..<world.localSize ~= world.localRank else {
      throw .environment(
        "\(world.source.rawValue) says local rank \(world.localRank) of \(world.localSize) of "
          + "\(world.size) processes")
    }
    return world.size > 1 ? world : nil
  }

  private static func torchrun(_ reader: VariableReader) throws(CollectiveError) -> World? {
    let names = ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]
    guard reader.has("RANK") || reader.has("WORLD_SIZE") else { return nil }
    if try reader.number("WORLD_SIZE") == 1 { return nil }
    let missing = names.filter { !reader.has($0) }
    guard missing.isEmpty else {
      throw .environment(
        "\(names.filter(reader.has).joined(separator: " and ")) "
          + "\(missing.count == names.count - 1 ? "asks" : "ask") for several processes, but "
          + "\(missing.joined(separator: ", ")) "
          + "\(missing.count == 1 ? "is" : "are") not set; start them with graft launch, or unset the "
          + "others")
    }
    let (rank, size) = (try reader.required("RANK"), try reader.required("WORLD_SIZE"))
    var world = World(rank: rank, of: size, port: try reader.required("MASTER_PORT"))
    world.localRank = try reader.number("LOCAL_RANK") ?? rank
    world.localSize = try reader.number("LOCAL_WORLD_SIZE") ?? size
    world.host = reader.text("MASTER_ADDR") ?? ""
    world.opensStore = reader.text("TORCHELASTIC_USE_AGENT_STORE") != "True"
    world.attempt = try reader.number("TORCHELASTIC_RESTART_COUNT") ?? 0
    world.runID = reader.text("TORCHELASTIC_RUN_ID") ?? ""
    return world
  }

  private static func slurm(_ reader: VariableReader) throws(CollectiveError) -> World? {
    // Only srun's steps have them: a batch script itself is one process, whatever the job's size.
    guard let size = try reader.number("SLURM_STEP_NUM_TASKS"), size > 1 else { return nil }
    let job = try reader.number("SLURM_JOB_ID") ?? 0
    let step = try reader.number("SLURM_STEP_ID") ?? 0
    var world = World(
      rank: try reader.required("SLURM_PROCID"), of: size,
      port: try reader.number("MASTER_PORT") ?? 20000 + (job &* 31 &+ step) % 20000)
    world.source = .slurm
    world.localRank = try reader.number("SLURM_LOCALID") ?? 0
    let list = reader.text("SLURM_STEP_NODELIST") ?? reader.text("SLURM_JOB_NODELIST") ?? ""
    let counts = SlurmLists.counts(
      reader.text("SLURM_STEP_TASKS_PER_NODE") ?? reader.text("SLURM_TASKS_PER_NODE") ?? "")
    let node = try reader.number("SLURM_NODEID") ?? 0
    world.localSize = counts.indices.contains(node) ? counts[node] : max(1, world.localRank + 1)
    guard let host = reader.text("MASTER_ADDR") ?? SlurmLists.firstHost(list) else {
      throw .environment(
        "Slurm says \(size) tasks, but SLURM_STEP_NODELIST does not name a machine ('\(list)'); set "
          + "MASTER_ADDR to the first one")
    }
    world.host = host
    return world
  }

  private static func mpi(_ reader: VariableReader) throws(CollectiveError) -> World? {
    let kinds: [(Source, rank: String, size: String, local: String, locals: String)] = [
      (
        .openMPI, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE"
      ), (.mpich, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ]
    for kind in kinds {
      guard let size = try reader.number(kind.size), size > 1 else { continue }
      let locals = try reader.number(kind.locals)
      guard let host = reader.text("MASTER_ADDR") ?? (locals == size ? "127.0.0.1" : nil) else {
        throw .environment(
          "\(kind.0.rawValue) says \(size) processes on several machines; say where they meet: "
            + "mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=PORT, the host being that of rank 0")
      }
      let job = reader.text("PMIX_NAMESPACE") ?? reader.text("OMPI_MCA_ess_base_jobid") ?? ""
      let hash = job.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xff_ffff }
      var world = World(
        rank: try reader.required(kind.rank), of: size,
        port: try reader.number("MASTER_PORT") ?? 20000 + hash % 20000)
      world.source = kind.0
      world.localRank = try reader.number(kind.local) ?? 0
      world.localSize = locals ?? max(1, world.localRank + 1)
      world.host = host
      return world
    }
    return nil
  }
}

extension World: CustomStringConvertible {
  /// One line for a log.
  public var description: String {
    "rank \(rank) of \(size) by \(source.rawValue), \(localSize) on this machine, meeting at "
      + "\(host):\(port)"
  }
}
