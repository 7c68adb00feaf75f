import Collectives
import Testing

@Suite struct WorldTests {
  static let torchrun = [
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node1", "MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_RUN_ID": "job",
  ]

  @Test func fromTorchrun() throws {
    let world = try #require(try World.detect(Self.torchrun))
    #expect(world.source == .torchrun && world.rank == 5 && world.size == 8)
    #expect(world.localRank == 1 && world.localSize == 4)
    #expect(world.host == "node1" && world.port == 29500 && !world.opensStore)
    #expect(world.attempt == 2 && world.runID == "job")
  }

  @Test func alone() throws {
    #expect(try World.detect([:]) == nil)
    #expect(try World.detect(["RANK": "0", "WORLD_SIZE": "1"]) == nil)
    #expect(try World.detect(["SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"]) == nil)
    #expect(try World.detect(["OMPI_COMM_WORLD_SIZE": "1"]) == nil)
    #expect(try World.detect(["WORLD_SIZE": "", "RANK": ""]) == nil)
  }

  /// A world that is asked for and not found is an error that names what is missing.
  @Test(arguments: ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
  func missing(_ name: String) throws {
    var variables = Self.torchrun
    variables[name] = nil
    let error = #expect(throws: CollectiveError.self) { try World.detect(variables) }
    #expect("\(try #require(error))".contains(name))
  }

  @Test(arguments: [
    (["RANK": "8"], "rank 8 of 8"), (["RANK": "-1"], "'-1'"), (["WORLD_SIZE": "many"], "'many'"),
    (["LOCAL_RANK": "4"], "local rank 4 of 4"), (["LOCAL_WORLD_SIZE": "9"], "of 9"),
  ])
  func impossible(_ change: [String: String], _ words: String) throws {
    let variables = Self.torchrun.merging(change) { $1 }
    let error = #expect(throws: CollectiveError.self) { try World.detect(variables) }
    #expect("\(try #require(error))".contains(words))
  }

  @Test func fromSlurm() throws {
    var variables = [
      "SLURM_STEP_NUM_TASKS": "7", "SLURM_PROCID": "4", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
      "SLURM_STEP_TASKS_PER_NODE": "3(x2),1", "SLURM_STEP_NODELIST": "gpu[07-08,11]",
      "SLURM_JOB_ID": "1234", "SLURM_STEP_ID": "3",
    ]
    let world = try #require(try World.detect(variables))
    #expect(world.source == .slurm && world.rank == 4 && world.size == 7)
    #expect(world.localRank == 1 && world.localSize == 3 && world.host == "gpu07")
    #expect(world.port == 20000 + (1234 * 31 + 3) % 20000 && world.opensStore)
    for (list, first) in [
      ("a,b", "a"), ("n[1-2]-ib[3,4]", "n1-ib3"), ("x,n[1-2]", "x"), ("n[09]", "n09"),
    ] {
      variables["SLURM_STEP_NODELIST"] = list
      #expect(try World.detect(variables)?.host == first)
    }
    variables["SLURM_STEP_NODELIST"] = nil
    #expect(throws: CollectiveError.self) { try World.detect(variables) }
    variables["MASTER_ADDR"] = "10.0.0.1"
    variables["MASTER_PORT"] = "4000"
    #expect(try World.detect(variables)?.host == "10.0.0.1")
    #expect(try World.detect(variables)?.port == 4000)
  }

  @Test func fromMPI() throws {
    let open = [
      "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
      "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "prterun-1",
    ]
    let world = try #require(try World.detect(open))
    #expect(world.source == .openMPI && world.rank == 1 && world.host == "127.0.0.1")
    #expect(20000..<40000 ~= world.port)
    let mpich = ["PMI_RANK": "2", "PMI_SIZE": "4", "MASTER_ADDR": "h", "MASTER_PORT": "1"]
    #expect(try World.detect(mpich)?.source == .mpich)
    let apart = open.merging(["OMPI_COMM_WORLD_LOCAL_SIZE": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "0"])
    { $1 }
    let error = #expect(throws: CollectiveError.self) { try World.detect(apart) }
    #expect("\(try #require(error))".contains("MASTER_ADDR"))
  }
}
