def test_one(marl, tmp_path):
    print(marl("train","env.rows=2","env.cols=3","steps=40","eval.steps=20"))
def test_two(marl, tmp_path):
    print(marl("train","env.rows=2","env.cols=3","steps=40","eval.steps=20","logger=none"))
def test_three(marl, tmp_path):
    print(marl("train","-m","env.rows=2","env.cols=3","steps=40","eval.steps=20","logger=none"))
def test_four(marl, tmp_path):
    print(marl("train","env.rows=2","env.cols=3","steps=0"))
