import shutil, sys
from pathlib import Path
import pytest, json
REPO=Path(__file__).parents[2]
BAD = [["foo=1"],["env.foo=1"],["+bar=2"],["env=nosuch"],["critic=foo"],["logger=foo"],["critic.kappa=-1"],["critic.kappa=0.5"],
["env.arrival=1.5"],["env.arrival=nan"],["env.arrival=[0.1,0.2]"],["env.success=-0.1"],["env.incidence=none.json"],["env.incidence=bad.json"],
["env.incidence=[[0],[]]"],["env.incidence=[[0],[1,1]]"],["env.incidence=nopoint.json"],["env.incidence=twice.json"],["replicas=0"],["steps=0"],["steps=abc"],["seed=-1"],["eval.steps=5"],["log_every=500","steps=100"],
["actor_scheduler.value=-1"],["critic_scheduler.value=-0.5"],["critic.storage=dense","critic.kappa=1","env.rows=5","env.cols=5"],["trainer.engine=fused"],["trainer.engine=nonsense"],
["policy._target_=nosuch.Foo"],["policy._target_=marl.policies.Foo"],["critic=neural","trainer.rescale=true"],["env.rows=[1"],["env.rows"],["=3"],["--nonsense"],["env=epidemic"],["env.rows=abc"],["env.rows=null"],["critic_scheduler=power_law","critic_scheduler.scale=abc"],["hydra.run.dir=/proc/foo"],["hydra.run.dir=afile"],["hydra.run.dir=afile/x"],["force=3"],["dtype=float16"],["checkpoint.every=0"],["threads=0"],["eval=3"],["env=null"],["critic=tabular,neural"],["experiment=nosuch"],["steps="],["critic._target_=null"],["~env"],["~steps"],["resume=nowhere"],["resume="],["--config-dir","nowhere"],["--config-dir"],["env.incidence=3"],["critic.dummy=99"],["policy.foo=1"],["+policy.foo=1"],["env.deadline=0"],["env.deadline=40"],["hydra.foo=1"],["checkpoint=3"],["logger.per_agent=3"],["-m", "steps=abc"],["-m","critic=foo"],["steps=1e400"],["steps=inf"],["critic_optimizer=3"],["trainer.critic_optimizer=3"],["env.rows=1"],["hydra.run.dir=/nonexist\u0000"],["threads=abc"],["eval.steps=null"],["hydra.run.dir=''"],["hydra.run.dir=null"],["env._target_=torch.nn.Linear"],["logger._target_=nosuch.X"],["seed=[1]"],["hydra.verbose=true","steps=0"],["steps=${foo}"],["steps=???"]]
@pytest.mark.parametrize("a", BAD, ids=lambda a: " ".join(a).replace("\0","NUL"))
def test_p(marl, tmp_path, a):
    (tmp_path/"bad.json").write_text("{bad"); (tmp_path/"nopoint.json").write_text("[[0],[]]"); (tmp_path/"twice.json").write_text("[[0],[1,1]]")
    (tmp_path/"afile").write_text("x")
    before={p for p in tmp_path.rglob("*")}
    o = marl("train","env.rows=2","env.cols=3", *[x for x in a])
    new={str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}-{str(p.relative_to(tmp_path)) for p in before}
    ok = o.code==2 and o.err.startswith("marl: ") and o.err.count("\n")==1 and not new and "Traceback" not in o.err
    with open("/tmp/probe.out","a") as f: f.write(f"{'  ' if ok else '!!'} {a} -> {o.code} {o.err!r} {new or ''} {o.out[:200]!r}\n")
